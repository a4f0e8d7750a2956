"""LAST and RPOP (RFC 1081, RFC 1225).

Invariants: RPOP lets nobody in, whoever asks; LAST counts from the login, for what was accessed before is not kept.

It must not know: whether a listener has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroom.wire.pop3.legacy import Last, Rpop
from postroom.wire.pop3.replies import Err, Ok

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session


async def last(session: Pop3Session, _command: Last) -> None:
    """LAST: RETR, TOP and DELE raise it, RSET takes it back to the login's 0."""
    session.engine.send(Ok(str(session.last)))


async def rpop(session: Pop3Session, _command: Rpop) -> None:
    """RPOP: the mail transport that it trusts (RFC 1081, RPOP) can be anybody today."""
    session.user = None
    session.engine.send(Err("Privileged ports prove nothing"))


HANDLERS: Final[Handlers] = {Last: last, Rpop: rpop}
