"""``postroom serve`` and ``postroom run``: the server in the foreground."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Final

from cyclopts import Parameter

from postroom.cli.exits import Exit, Failed
from postroom.cli.init import DEFAULT_DATA_DIR, ensure_tls, first_account, make_first_account, prepare
from postroom.cli.output import console, say
from postroom.cli.status import read_status, show
from postroom.cli.target import CONFIG_VARIABLE, Target, choose, current
from postroom.config import logging
from postroom.config.certificate import fingerprint
from postroom.config.paths import DataDir
from postroom.config.settings import Settings

DEFAULT_BASE_PORT: Final = 20_000


def serve() -> int:
    """Serve in the foreground until SIGTERM or Ctrl-C.

    The data directory must have been made with `postroom init`.
    """
    settings = current().settings()
    current().data(settings, as_owner=False)
    ensure_tls(settings)
    return _serve(settings)


def run(
    *,
    base_port: Annotated[int | None, Parameter(name="--base-port")] = None,
    account: str = "user@example.test",
) -> int:
    """Set up what is missing, show what to type into a mail program, and serve.

    It stays in the foreground until SIGTERM or Ctrl-C. The data directory is ./data unless one is named. A second start
    keeps everything.

    Parameters
    ----------
    base_port
        Added to the standard ports: 20000, or what was chosen at the first start.
    account
        The account to make at the first start, with its domain.
    """
    target = current()
    if target.config is None and target.data_dir is None and CONFIG_VARIABLE not in os.environ:
        choose(Target(None, DEFAULT_DATA_DIR))
    first_start = current().config_file() is None
    settings = prepare(base_port=DEFAULT_BASE_PORT if first_start and base_port is None else base_port)
    _first_account(settings, account)
    return _serve(settings, on_ready=lambda: _announce(settings))


def _serve(settings: Settings, on_ready: Callable[[], None] | None = None) -> int:
    logging.configure(settings.log)
    from postroom import app

    try:
        return app.serve(settings, on_ready)
    except app.AlreadyRunning as error:
        raise Failed(error.public, Exit.TRY_AGAIN) from error
    except app.CannotListen as error:
        hint = "another program uses it, or it needs privileges; choose others with --base-port or base_port"
        raise Failed(error.public, Exit.SYSTEM, hint) from error
    except KeyError:
        raise Failed(f"there is no user {settings.user}", Exit.CONFIG) from None


def _first_account(settings: Settings, name: str) -> None:
    """Make the account, unless this postroom has accounts of its own already."""
    from postroom.cli.directory import open_directory

    first = first_account(DataDir(settings.data_dir))
    with open_directory(settings) as directory:
        populated = next(directory.accounts(), None) is not None
    if not populated:
        wanted = first.name if first else name
        make_first_account(settings, wanted.rpartition("@")[2], wanted)


def _announce(settings: Settings) -> None:
    """What a person needs to connect, once every port answers."""
    found = read_status(settings)
    console().print()
    show(found)
    data = DataDir(settings.data_dir)
    if settings.tls.certificate == data.certificate:
        say(f"The certificate is self-signed: {data.certificate}")
        say(f"  SHA-256 {fingerprint(data.certificate)}")
    say("Ctrl-C stops it.")
