"""COPY and MOVE (RFC 3501 §6.4.7, RFC 6851, RFC 4315 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.model.errors import NoSuchMailbox
from postroom.model.mailbox import Mailbox
from postroom.session.imap.names import canonical
from postroom.store.api import Copied
from postroom.wire.imap.commands import Copy, Move
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import CopyUid, Kind, Untagged, Word

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession


async def copy(session: ImapSession, request: Request) -> None:
    """COPY: all or nothing."""
    command = request.command
    assert isinstance(command, Copy)
    view = session.view
    assert view is not None
    session.sync.with_uid = command.uid
    target = _target(session, request, command.mailbox)
    if target is None:
        return
    uids = view.resolve(command.numbers, uid=command.uid)
    if not uids:
        await session.finish(request, "Nothing to copy")
        return
    done = await session.store.copy(view.account, view.mailbox, uids, target.id)
    code = _copy_uid(done)
    await session.finish(request, "COPY completed", code)


async def move(session: ImapSession, request: Request) -> None:
    """MOVE: COPYUID comes in an untagged OK, before the EXPUNGEs (RFC 6851 §3.3, §4.3)."""
    command = request.command
    assert isinstance(command, Move)
    view = session.view
    assert view is not None
    session.sync.with_uid = command.uid
    if view.read_only:
        session.no(request, "Mailbox is read-only", Word.CANNOT)
        return
    target = _target(session, request, command.mailbox)
    if target is None:
        return
    uids = view.resolve(command.numbers, uid=command.uid)
    if uids:
        done = await session.store.move(view.account, view.mailbox, uids, target.id)
        code = _copy_uid(done)
        if code is not None:
            session.send(Untagged(Kind.OK, "Moved", code))
    await session.finish(request, "MOVE completed")


def _target(session: ImapSession, request: Request, name: str) -> Mailbox | None:
    """The mailbox to put into; None after NO [TRYCREATE] has been sent (RFC 3501 §6.4.7)."""
    try:
        target = session.store.mailbox(session.account_id, canonical(name))
    except NoSuchMailbox as error:
        session.no(request, error.public, Word.TRYCREATE)
        return None
    if not target.selectable:
        session.no(request, "Mailbox cannot hold messages", Word.TRYCREATE)
        return None
    return target


def _copy_uid(done: Copied) -> CopyUid | None:
    return CopyUid(done.uid_validity, done.source, done.target) if done.source else None
