"""How a server in a test is configured: as ``postroom serve``, except for what would cost time or leave the machine.

Invariants: every listener is on loopback, and there alone passwords are taken in clear.

It must not know: sockets, event loops.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from postroom.config.passwords import Auth
from postroom.config.settings import (
    Limits,
    Listener,
    ListenerProtocol,
    Queue,
    Settings,
    Smarthost,
    Storage,
    StorageEngine,
    TlsMode,
)
from postroom.testing.endpoints import LOOPBACK

_LOOPBACK_NETWORKS: Final = ("127.0.0.0/8", "::1/128")
_NOWHERE: Final = "outbox.invalid"
"""The smarthost that makes sessions take mail for foreign domains; the lanes that would dial it are never started."""
_PLAIN: Final = (
    ("smtp", ListenerProtocol.SMTP),
    ("submission", ListenerProtocol.SUBMISSION),
    ("lmtp", ListenerProtocol.LMTP),
    ("pop3", ListenerProtocol.POP3),
    ("imap", ListenerProtocol.IMAP),
)
_IMPLICIT: Final = (
    ("submissions", ListenerProtocol.SUBMISSION),
    ("pop3s", ListenerProtocol.POP3),
    ("imaps", ListenerProtocol.IMAP),
)


def listeners(*, tls: bool) -> Iterator[tuple[str, Listener]]:
    """Every listener with its name; its port is the kernel's to choose."""
    for name, protocol in _PLAIN:
        upgrades = tls and protocol is not ListenerProtocol.LMTP
        yield name, _listener(protocol, TlsMode.STARTTLS if upgrades else TlsMode.NONE)
    if tls:
        for name, protocol in _IMPLICIT:
            yield name, _listener(protocol, TlsMode.IMPLICIT)


def _listener(protocol: ListenerProtocol, mode: TlsMode) -> Listener:
    return Listener(protocol=protocol, address=LOOPBACK, tls=mode, cleartext_auth_cidrs=_LOOPBACK_NETWORKS)


def settings_for(data: Path, hostname: str, *, durable: bool) -> Settings:
    """Hashes as cheap as they can be, no limit on failed logins, no delay after them. ``durable``: in SQLite."""
    many = 1_000_000
    return Settings(
        data_dir=data,
        hostname=hostname,
        workers=1,
        auth=Auth(
            argon2_memory=8 * 1024,
            argon2_time=1,
            scram_iterations=4096,
            slots=2,
            failures_per_ip_minute=many,
            failures_per_ip_day=many,
            failures_per_user_hour=many,
            delay_minimum=0,
            delay_maximum=0,
        ),
        limits=Limits(imap_connections_per_user=1000),
        storage=Storage(engine=StorageEngine.SQLITE if durable else StorageEngine.MEMORY, shards=1),
        queue=Queue(smarthost=Smarthost(host=_NOWHERE)),
    )
