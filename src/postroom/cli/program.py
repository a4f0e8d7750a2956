"""Puts the commands together, reads the command line, turns every outcome into an exit code.

Invariants: nobody is shown a traceback unless POSTROOM_TEST_TRACEBACK is set.
"""

from __future__ import annotations

import os
import secrets
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, CycloptsError, Group, Parameter

from postroom import __version__
from postroom.cli import account, alias, ban, domain, mailbox
from postroom.cli.collect import collect
from postroom.cli.config import app as config_app
from postroom.cli.copy import copy
from postroom.cli.exits import Exit, Failed, exit_for
from postroom.cli.exporting import export
from postroom.cli.fsck import fsck
from postroom.cli.importing import import_
from postroom.cli.init import init
from postroom.cli.output import complain
from postroom.cli.serve import run as run_server
from postroom.cli.serve import serve
from postroom.cli.status import status
from postroom.cli.target import Target, choose
from postroom.config.loading import ConfigErrors
from postroom.model.errors import PostroomError

HELP: Final = "A complete mail system: SMTP, submission and LMTP in, a durable store, POP3 and IMAP out."

COMMANDS: Final[tuple[tuple[str, Callable[..., object]], ...]] = (
    ("init", init),
    ("run", run_server),
    ("serve", serve),
    ("status", status),
    ("domain", domain.app),
    ("account", account.app),
    ("alias", alias.app),
    ("ban", ban.app),
    ("mailbox", mailbox.app),
    ("import", import_),
    ("export", export),
    ("collect", collect),
    ("copy", copy),
    ("fsck", fsck),
    ("config", config_app),
)
"""The commands in the order of the help."""

_SHARED: Final = Group("Options of every command", sort_key=99)


def program() -> App:
    """The whole command line."""
    app = App(
        name="postroom",
        help=HELP,
        version=__version__,
        version_flags=["--version"],
        help_format="markdown",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app.meta.suppress_keyboard_interrupt = False
    for order, (name, command) in enumerate(COMMANDS):
        if isinstance(command, App):
            command.sort_key = order
            app.command(command)
        else:
            app.command(command, name=name, sort_key=order)
    app.register_install_completion_command(
        add_to_startup=True,
        help="Install completion for the shell in use, and load it from the shell's start-up file.",
    )

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Annotated[Path | None, Parameter(name=["--config", "-c"], group=_SHARED)] = None,
        data_dir: Annotated[Path | None, Parameter(name=["--data-dir", "-d"], group=_SHARED)] = None,
    ) -> object:
        """Run a command on one postroom.

        Parameters
        ----------
        config
            The configuration file. Otherwise: `$POSTROOM_CONFIG`, `postroom.toml`, `data/postroom.toml`,
            `/etc/postroom/postroom.toml`, whichever comes first.
        data_dir
            The data directory; the configuration is the `postroom.toml` in it unless another one is named.
        """
        choose(Target(config, data_dir))
        return app(tokens, exit_on_error=False, print_error=True)

    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    try:
        result = program().meta(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=True,
            result_action="return_value",
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else Exit.OK
    except CycloptsError:
        return Exit.USAGE  # it has been printed, with what may have been meant
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has enough; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except Exception as error:  # noqa: BLE001  (the last resort: every error becomes a sentence and an exit code)
        return report(error)


def report(error: Exception) -> int:
    """Say what went wrong and return the exit code."""
    code = exit_for(error)
    if "POSTROOM_TEST_TRACEBACK" in os.environ:
        traceback.print_exception(error)
    match error:
        case Failed():
            complain(error.message, error.hint)
        case ConfigErrors():
            for each in error.errors:
                complain(str(each))
        case PostroomError():
            complain(error.public, "" if error.private == error.public else error.private)
        case OSError() if error.filename:
            complain(f"{error.filename}: {error.strerror}")
        case _ if code is not None:
            complain(str(error))
        case _:
            mark = secrets.token_hex(4)
            complain(
                f"internal error {mark}: {type(error).__name__}: {error}",
                "this is a bug; please report it with what POSTROOM_TEST_TRACEBACK=1 adds",
            )
    return Exit.SOFTWARE if code is None else code
