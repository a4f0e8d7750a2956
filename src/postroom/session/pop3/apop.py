"""APOP (RFC 1939 §7): a login by digest, on connections whose greeting had a timestamp.

Invariants:
- A timestamp is good for one attempt on the connection it was sent on, and for none after STLS: it was sent in clear then, where
  anybody could have put another in its place (RFC 2595 §4).
- Who has no secret is refused like a wrong digest, after the same work.

It must not know: how secrets are kept, which networks a listener names.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from postroom.model.credentials import saslprep
from postroom.session.transport import Transport
from postroom.wire.pop3.apop import Apop, timestamp_digest
from postroom.wire.pop3.replies import Err

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session


Timestamps = Callable[[Transport], str]
"""Gives the timestamp for a connection's greeting, never the same twice; empty where APOP is not to be had."""


def no_timestamps(_transport: Transport) -> str:
    """No APOP."""
    return ""


async def apop(session: Pop3Session, command: Apop) -> None:
    """APOP."""
    session.user = None
    timestamp, session.timestamp = session.timestamp, ""
    if not timestamp:
        session.engine.send(Err("APOP needs a fresh timestamp"))
        return
    try:
        name = saslprep(command.name)
    except ValueError:
        session.engine.send(Err("Characters not acceptable in a name or password"))
        return

    def fits(secret: bytes) -> bool:
        return hmac.compare_digest(timestamp_digest(timestamp, secret), command.digest)

    await session.log_in(session.authenticator.login_by_secret(name, fits, session.transport, "APOP"))


HANDLERS: Final[Handlers] = {Apop: apop}
