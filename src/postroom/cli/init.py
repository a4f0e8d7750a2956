"""``postroom init``: a data directory with everything a server needs before its first start.

Invariants: what is there already is kept; each step can be repeated, so that one that was interrupted goes on.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from postroom.cli.directory import open_directory, password_scheme
from postroom.cli.exits import Exit, Failed
from postroom.cli.offline import make_mailboxes
from postroom.cli.output import say
from postroom.cli.ownership import hand_over
from postroom.cli.target import Target, choose, current
from postroom.config.certificate import ensure_certificate, fingerprint
from postroom.config.paths import CONFIG_NAME, DataDir
from postroom.config.private_file import write_private
from postroom.config.settings import Settings, StorageEngine
from postroom.store.directory import Directory, EntryExists

DEFAULT_DATA_DIR: Final = Path("data")

_TEMPLATE: Final = """\
# The configuration of postroom. Every setting and its default: docs/configuration.md, or `postroom config show`.
# `postroom config check` tells all mistakes at once.

# Relative paths count from this file's directory.
data_dir = "."
hostname = "{hostname}"
{base_port}
# Without listeners, every protocol is served on 127.0.0.1. To serve a network:
#
# [[listeners]]
# protocol = "imap"
# address = "0.0.0.0"
# port = 993
# tls = "implicit"
"""

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without characters that look alike."""


@dataclass(slots=True, frozen=True)
class FirstAccount:
    """The account made at the first start. ``password`` is empty when it was changed since."""

    name: str
    password: str


def init(
    *,
    domain: str | None = None,
    account: str | None = None,
    hostname: str | None = None,
    base_port: Annotated[int | None, Parameter(name="--base-port")] = None,
) -> None:
    """Make a data directory: configuration, certificate, directory of accounts.

    What is there already is kept. The certificate is self-signed until another one is configured.

    Parameters
    ----------
    domain
        A first domain to receive mail for.
    account
        A first account, such as user@example.test; its password is made and printed.
    hostname
        The name this server greets with.
    base_port
        Added to the standard ports, so that postroom runs without privileges and several run side by side.
    """
    settings = prepare(hostname=hostname or "", base_port=base_port)
    if account:
        first = make_first_account(settings, domain or account.rpartition("@")[2], account)
        if first.password:
            say(f"account {first.name}, password {first.password}")
    elif domain:
        add_domain(settings, domain)
    say(f"ready: {settings.data_dir}")
    certificate = settings.tls.certificate
    if certificate is not None and certificate == DataDir(settings.data_dir).certificate:
        say(f"certificate (self-signed), SHA-256: {fingerprint(certificate)}")


def prepare(*, hostname: str = "", base_port: int | None = None) -> Settings:
    """Make what is missing of the configuration and the data directory; returns the settings in effect.

    Raises ConfigErrors, Failed, CertificateUnusable, OSError, PostroomError.
    """
    target = current()
    if target.config_file() is None:
        directory = target.data_dir or DEFAULT_DATA_DIR
        _make_config(directory, hostname, base_port)
        choose(Target(directory / CONFIG_NAME, target.data_dir))
    elif target.config is not None and not target.config.exists():
        raise Failed(f"{target.config} does not exist", Exit.CONFIG, "leave --config out to have one made")
    overrides = {}
    if base_port is not None:
        overrides["POSTROOM_BASE_PORT"] = str(base_port)
    if hostname:
        overrides["POSTROOM_HOSTNAME"] = hostname
    settings = current().settings(overrides)
    data = DataDir(settings.data_dir)
    if data.too_long_for_sockets():
        raise Failed(f"{data.root} is too long a path: unix sockets in it could not be named", Exit.CONFIG)
    hand_over(data.root, settings.user)
    data.make()
    ensure_tls(settings)
    _make_directory(settings, data)
    return settings


def ensure_tls(settings: Settings) -> None:
    """The self-signed certificate, where no other one is configured. Raises CertificateUnusable, OSError."""
    data = DataDir(settings.data_dir)
    if settings.tls.certificate == data.certificate and settings.tls.key == data.key:
        ensure_certificate(data.certificate, data.key, settings.hostname, datetime.now(UTC))


def _make_config(directory: Path, hostname: str, base_port: int | None) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = f"base_port = {base_port}\n" if base_port is not None else ""
    name = hostname or "localhost"
    write_private(directory / CONFIG_NAME, _TEMPLATE.format(hostname=name, base_port=port).encode())


def _make_directory(settings: Settings, data: DataDir) -> None:
    """The directory of accounts; the number of shards is decided here, once."""
    fresh = not data.directory.exists()
    directory = Directory(data.directory, password_scheme(settings.auth))
    try:
        if fresh and settings.storage.engine is StorageEngine.SQLITE:
            # A worker owns whole shards: fewer than workers would leave some idle, more make smaller groups to commit.
            directory.set_shards(settings.storage.shards or settings.workers or len(os.sched_getaffinity(0)))
    finally:
        directory.close()


def add_domain(settings: Settings, domain: str) -> None:
    """Receive mail for a domain, unless it is so already."""
    with open_directory(settings) as directory:
        try:
            directory.add_domain(domain)
        except EntryExists:
            pass


def make_first_account(settings: Settings, domain: str, name: str) -> FirstAccount:
    """Make the first account, and keep its password in the data directory so that it can be shown again.

    The file is written before the account, so that an interruption cannot lose the password.
    """
    data = DataDir(settings.data_dir)
    add_domain(settings, domain)
    first = first_account(data)
    if first is None or first.name != name:
        first = FirstAccount(name, make_password())
        write_private(data.first_account, f"{first.name}\n{first.password}\n".encode())
    with open_directory(settings) as directory:
        account = directory.account(name)
        if account is None:
            account = directory.add_account(first.name, first.password)
    make_mailboxes([account], settings)
    return first


def first_account(data: DataDir) -> FirstAccount | None:
    """The account made at the first start, None when there was none. Raises OSError."""
    try:
        lines = data.first_account.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return FirstAccount(lines[0], lines[1] if len(lines) > 1 else "") if lines else None


def forget_password(data: DataDir, name: str) -> None:
    """The first account's password is not what the file says any more. Raises OSError."""
    first = first_account(data)
    if first is not None and first.name == name.lower():
        write_private(data.first_account, f"{first.name}\n".encode())


def make_password() -> str:
    """Four groups of five characters: 99 bits, easy to type."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
