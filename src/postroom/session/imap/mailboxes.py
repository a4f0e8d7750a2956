"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7, RFC 6154 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.model.errors import NoSuchMailbox, UseAttributeTaken
from postroom.model.mailbox import INBOX, SEPARATOR, SpecialUse
from postroom.session.imap.names import canonical, checked
from postroom.session.imap.objectid import mailbox_id
from postroom.wire.imap.commands import Create, Delete, Rename, Subscribe, Unsubscribe
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import ListData, MailboxIdCode, Word

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession


async def create(session: ImapSession, request: Request) -> None:
    """CREATE, with USE at most one attribute that a mailbox can be given (RFC 6154 §3)."""
    command = request.command
    assert isinstance(command, Create)
    if canonical(command.mailbox.rstrip("/")) == INBOX:
        session.no(request, "INBOX exists", Word.ALREADYEXISTS)
        return
    use: SpecialUse | None = None
    if command.use:
        first = command.use[0]
        if (
            len(command.use) > 1
            or not isinstance(first, SpecialUse)
            or first in (SpecialUse.ALL, SpecialUse.FLAGGED)
        ):
            raise UseAttributeTaken("This special use cannot be given to a mailbox here")
        use = first
    made = await session.store.create_mailbox(session.account_id, checked(command.mailbox), use)
    if session.rev2 and made.name != command.mailbox.rstrip("/"):
        session.send(ListData((), SEPARATOR, made.name, old_name=command.mailbox.rstrip("/")))
    await session.finish(request, "CREATE completed", MailboxIdCode(mailbox_id(session.account_id, made.id)))


async def delete(session: ImapSession, request: Request) -> None:
    """DELETE."""
    command = request.command
    assert isinstance(command, Delete)
    name = canonical(command.mailbox)
    if name == INBOX:
        session.no(request, "INBOX cannot be deleted", Word.CANNOT)
        return
    await session.store.delete_mailbox(session.account_id, name)
    await session.finish(request, "DELETE completed")


async def rename(session: ImapSession, request: Request) -> None:
    """RENAME; of INBOX it moves the messages (RFC 3501 §6.3.5)."""
    command = request.command
    assert isinstance(command, Rename)
    name, to = canonical(command.mailbox), checked(command.to)
    await session.store.rename_mailbox(session.account_id, name, to)
    if session.rev2 and name != INBOX:
        session.send(ListData((), SEPARATOR, to, old_name=name))  # RFC 9051 §6.3.6
    await session.finish(request, "RENAME completed")


async def subscribe(session: ImapSession, request: Request) -> None:
    """SUBSCRIBE and UNSUBSCRIBE: names that exist, or did (RFC 3501 §6.3.6)."""
    command = request.command
    assert isinstance(command, Subscribe | Unsubscribe)
    wanted = isinstance(command, Subscribe)
    name = canonical(command.mailbox)
    if wanted:
        name = checked(command.mailbox)
        session.store.mailbox(session.account_id, name)
    elif name not in session.store.subscriptions(session.account_id):
        raise NoSuchMailbox("Not subscribed")
    await session.store.subscribe(session.account_id, name, wanted)
    await session.finish(request, "SUBSCRIBE completed" if wanted else "UNSUBSCRIBE completed")
