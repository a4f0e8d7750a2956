"""Commands of both states: CAPA and QUIT (RFC 2449 §5, RFC 1939 §5, §6).

Invariants: nothing is removed but by QUIT in the TRANSACTION state, in one transaction, before its +OK; the lock is given
back before that reply.

It must not know: sockets.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from postroom.model.errors import NoSuchMailbox, NoSuchMessage, PostroomError
from postroom.model.mailbox import INBOX
from postroom.model.uidset import UidSet
from postroom.session.maildrop import Maildrop
from postroom.session.pop3.errors import code_of
from postroom.wire.pop3.catalogue import Phrase
from postroom.wire.pop3.commands import Capa, Quit
from postroom.wire.pop3.replies import Err, Goodbye, Listing, ResponseCode
from postroom.wire.pop3.spec import State

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session


def summary(maildrop: Maildrop) -> str:
    """What is there, for people."""
    return Phrase("{} messages ({} octets)", maildrop.count, maildrop.octets)


async def capa(session: Pop3Session, _command: Capa) -> None:
    """CAPA (RFC 2449 §5)."""
    lines = "".join(f"{line}\r\n" for line in session.engine.capabilities())
    session.engine.send(Listing("Capabilities follow", lines.encode()))


async def _mark_retrieved(session: Pop3Session, maildrop: Maildrop) -> None:
    """EXPIRE 0: what was retrieved counts as deleted (RFC 2449 §6.7)."""
    for number in session.retrieved:
        with suppress(NoSuchMessage):  # marked already
            await maildrop.mark(number)


async def quit_session(session: Pop3Session, _command: Quit) -> None:
    """QUIT: in the TRANSACTION state what is marked goes, then the lock (RFC 1939 §6)."""
    if session.engine.state is State.AUTHORIZATION:
        session.engine.send(Goodbye("Goodbye"))
        return
    account, maildrop = session.opened()
    marked = UidSet()
    try:
        inbox = maildrop.inbox.name == INBOX  # the policy is about new mail, not about other folders
        if inbox and session.terms is not None and session.terms.expire == 0:
            await _mark_retrieved(session, maildrop)
        marked = await maildrop.marked()
        if marked:
            await session.store.expunge(account.id, maildrop.inbox.id, marked, only_deleted=False)
    except NoSuchMailbox:
        pass  # INBOX was made anew by another session: the messages have gone with the old one
    except PostroomError as error:
        await session.release()
        session.engine.send(
            Err("Some deleted messages were not removed", code_of(error) or ResponseCode.SYS_TEMP, True)
        )
        return
    await session.release()
    session.engine.send(Goodbye(Phrase("Goodbye, {} removed", len(marked)) if marked else "Goodbye"))


HANDLERS: Final[Handlers] = {Capa: capa, Quit: quit_session}
