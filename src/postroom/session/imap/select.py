"""SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE (RFC 3501 §6.3.1, §6.3.2, §6.4.2, §6.4.3, RFC 3691, RFC 4315 §2.1).

SELECT costs the same for every size of mailbox: it answers from counters. The first unseen message is an indexed look-up; its
sequence number is told when it can be known without reading all UIDs (RFC 3501 §6.3.1 lets a server leave it out).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from postroom.model.change import MailboxChanges
from postroom.model.errors import NoSuchMailbox, Unavailable
from postroom.model.ids import Modseq
from postroom.model.mailbox import SEPARATOR, Mailbox
from postroom.model.uidset import UidSet
from postroom.session.imap.names import canonical
from postroom.session.imap.objectid import mailbox_id
from postroom.session.imap.resync import resync
from postroom.session.imap.view import OutOfStep, View
from postroom.wire.imap.commands import Examine, Resync, Select, UidExpunge
from postroom.wire.imap.data import write_utf8_response
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import (
    HighestModseq,
    Kind,
    ListData,
    Untagged,
    Word,
)
from postroom.wire.imap.selected import recent_lines, selected_lines

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession


_LOOK_UP: Final = 10_000
"""Messages in a mailbox with holes up to which the first unseen one is given its number."""

_ATTEMPTS: Final = 3


async def select(session: ImapSession, request: Request) -> None:
    """SELECT and EXAMINE."""
    command = request.command
    assert isinstance(command, Select | Examine)
    if command.resync is not None and not session.sync.qresync:
        session.bad(request, "QRESYNC is not enabled")  # RFC 7162 §3.2.5
        return
    if session.sync.uidonly and command.resync is not None and command.resync.matched is not None:
        session.bad(request, "Message numbers are not used here", Word.UIDREQUIRED)  # RFC 9586 §3.6
        return
    was_open = session.view is not None
    leave(session)
    if was_open:
        # RFC 7162 §3.2.11: whether or not the client knows CONDSTORE.
        session.send(Untagged(Kind.OK, "Previous mailbox closed", Word.CLOSED))
    account = session.account_id
    asked = command.resync
    modseq, mailbox, changes = _look(session, canonical(command.mailbox), asked)
    read_only = isinstance(command, Examine)
    recent = await _recent(session, mailbox, read_only=read_only)
    view = View(session.store, account, mailbox, modseq=modseq, read_only=read_only, recent=recent)
    session.view = view
    if command.condstore:
        session.sync.condstore = True  # HIGHESTMODSEQ is among what follows
    _announce(session, view, mailbox)
    if asked is not None and changes is not None:
        await resync(session, view, asked, changes)
    session.ok(
        request,
        f"{'EXAMINE' if read_only else 'SELECT'} completed",
        Word.READ_ONLY if read_only else Word.READ_WRITE,
    )


def _look(
    session: ImapSession, name: str, asked: Resync | None
) -> tuple[Modseq, Mailbox, MailboxChanges | None]:
    """The account's modseq, the mailbox, and what has changed since ``asked``, as of one moment as far as can be: another
    process may write in between. Raises NoSuchMailbox."""
    for _ in range(_ATTEMPTS):
        seen = _look_once(session, name, asked)
        if seen[2] is None or seen[2].modseq == seen[0]:
            return seen
    return _look_once(session, name, asked)


def _look_once(
    session: ImapSession, name: str, asked: Resync | None
) -> tuple[Modseq, Mailbox, MailboxChanges | None]:
    store, account = session.store, session.account_id
    modseq = store.modseq(account)
    mailbox = store.mailbox(account, name)
    if not mailbox.selectable:
        raise NoSuchMailbox("Mailbox cannot be selected")
    if asked is None or asked.uid_validity != mailbox.uid_validity:
        return modseq, mailbox, None
    return modseq, mailbox, store.changes(account, mailbox.id, Modseq(asked.modseq))


async def _recent(session: ImapSession, mailbox: Mailbox, *, read_only: bool) -> UidSet:
    """What is \\Recent here: taken away from later sessions unless this one only reads (RFC 3501 §2.3.2)."""
    if session.rev2:
        return UidSet()  # RFC 9051 §2.3.2: \Recent is of the past
    first, end = mailbox.recent_from, mailbox.uid_next
    if not read_only and first < end:
        try:
            first, end = await session.store.claim_recent(session.account_id, mailbox.id)
        except Unavailable:
            return UidSet()  # while nothing can be written, mail can still be read
    return UidSet([(first, end - 1)]) if first < end else UidSet()


def _announce(session: ImapSession, view: View, mailbox: Mailbox) -> None:
    if session.rev2:
        use = () if mailbox.special_use is None else (str(mailbox.special_use),)
        before = write_utf8_response(ListData(use, SEPARATOR, mailbox.name))
    else:
        numbered = mailbox.unseen and not session.sync.uidonly
        unseen = _first_unseen(session, view, mailbox) if numbered else 0
        before = recent_lines(view.recent_count(), unseen)
    session.engine.write(
        selected_lines(
            mailbox.keywords,
            read_only=view.read_only,
            exists=view.count,
            before=before,
            mailbox_id=mailbox_id(view.account, mailbox.id),
            uid_validity=mailbox.uid_validity,
            uid_next=mailbox.uid_next,
            highest_modseq=mailbox.highest_modseq,
        )
    )


def _first_unseen(session: ImapSession, view: View, mailbox: Mailbox) -> int:
    """Its sequence number, 0 when finding it would mean to read every UID of a large mailbox with holes."""
    if mailbox.unseen == mailbox.messages:
        return 1
    uid = session.store.first_unseen(view.account, view.mailbox)
    if uid is None:
        return 0
    # Without holes (as in most mailboxes) a UID is its own number.
    if mailbox.uid_next - 1 == mailbox.messages:
        return uid
    return view.number(uid) if mailbox.messages <= _LOOK_UP else 0


def leave(session: ImapSession) -> None:
    """No mailbox is selected any more."""
    session.view = None
    session.sync.with_uid = False


async def close(session: ImapSession, request: Request) -> None:
    """CLOSE: removes what is marked \\Deleted, silently."""
    view = session.view
    assert view is not None
    if not view.read_only:
        try:
            if session.store.mailbox_by_id(view.account, view.mailbox).deleted:
                await session.store.expunge(view.account, view.mailbox)
        except NoSuchMailbox:
            pass  # deleted by somebody else: nothing is left to expunge
    leave(session)
    session.ok(request, "CLOSE completed")


async def unselect(session: ImapSession, request: Request) -> None:
    """UNSELECT (RFC 3691)."""
    leave(session)
    session.ok(request, "UNSELECT completed")


async def expunge(session: ImapSession, request: Request) -> None:
    """EXPUNGE and UID EXPUNGE: what has gone is reported like any change."""
    view = session.view
    assert view is not None
    if view.read_only:
        session.no(request, "Mailbox is read-only", Word.CANNOT)
        return
    uids = None
    if isinstance(request.command, UidExpunge):
        uids = view.resolve(request.command.uids, uid=True)
    with suppress(OutOfStep):
        _ = view.uids  # afterwards it would take the log to know them
    done = await session.store.expunge(view.account, view.mailbox, uids)
    await session.sync.expunged(done.uids, done.modseq)
    if done.uids and session.sync.condstore:
        await session.finish(request, "EXPUNGE completed", HighestModseq(done.modseq))
    else:
        await session.finish(request, "EXPUNGE completed")
