"""STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.model.change import FlagState
from postroom.model.ids import Modseq
from postroom.model.uidset import UidSet
from postroom.store.api import Column
from postroom.wire.imap.commands import Store
from postroom.wire.imap.events import Request
from postroom.wire.imap.fetch import flags_line, uid_modseq_line
from postroom.wire.imap.responses import Modified, Word
from postroom.wire.imap.values.sequence import SequenceSet

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View


async def store(session: ImapSession, request: Request) -> None:
    """STORE and UID STORE, silent or not, conditional or not."""
    command = request.command
    assert isinstance(command, Store)
    view = session.view
    assert view is not None
    if view.read_only:
        session.no(request, "Mailbox is read-only", Word.CANNOT)
        return
    session.sync.with_uid = command.uid
    if command.unchanged_since is not None:
        session.sync.condstore = True
    uids = view.resolve(command.numbers, uid=command.uid)
    if not uids:
        await session.finish(request, "STORE completed")
        return
    since = None if command.unchanged_since is None else Modseq(command.unchanged_since)
    done = await session.store.store_flags(
        view.account, view.mailbox, uids, command.change, command.flags.system, command.flags.keywords, since
    )
    if command.flags.keywords:
        session.sync.announce_keywords()
    _report(session, view, command, done.changed, uids)
    if done.changed:
        session.sync.own_change(done.modseq)
    if done.refused:
        code = Modified(_numbers(view, done.refused, uid=command.uid))
        await session.finish(request, "Conditional STORE failed for some", code)
    else:
        await session.finish(request, "STORE completed")


def _report(session: ImapSession, view: View, command: Store, changed: list[FlagState], uids: UidSet) -> None:
    """Without .SILENT the new flags of all that was named; with it only what CONDSTORE wants (RFC 7162 §3.1.3)."""
    number_of = view.numberer()
    condstore = session.sync.condstore
    lines: list[bytes] = []
    if command.silent:
        if condstore:
            for state in changed:
                number = number_of(state.uid)
                if number:
                    lines.append(uid_modseq_line(number, state.uid, state.modseq))
        session.engine.write(b"".join(lines))
        return
    for state in changed:
        number = number_of(state.uid)
        if number:
            lines.append(
                flags_line(
                    number,
                    state.flags,
                    state.keywords,
                    view.is_recent(state.uid),
                    state.uid if command.uid or condstore else 0,
                    state.modseq if condstore else 0,
                )
            )
    unchanged = uids - UidSet.of(state.uid for state in changed)
    if unchanged:
        lines.extend(_present_flags(session, view, command, unchanged))
    session.engine.write(b"".join(lines))


def _present_flags(session: ImapSession, view: View, command: Store, uids: UidSet) -> list[bytes]:
    """The flags of messages that had them already: the client asked and is told (RFC 3501 §6.4.6)."""
    columns = (Column.UID, Column.FLAGS, Column.KEYWORDS, Column.MODSEQ)
    number_of = view.numberer()
    condstore = session.sync.condstore
    lines: list[bytes] = []
    for batch in session.store.fetch(view.account, view.mailbox, uids, columns):
        for uid, flags, keywords, modseq in batch:
            number = number_of(uid)
            if number:
                lines.append(
                    flags_line(
                        number,
                        flags,
                        tuple(keywords.split(" ")) if keywords else (),
                        view.is_recent(uid),
                        uid if command.uid or condstore else 0,
                        modseq if condstore else 0,
                    )
                )
    return lines


def _numbers(view: View, refused: UidSet, *, uid: bool) -> SequenceSet:
    if uid:
        return SequenceSet.of(refused)
    number_of = view.numberer()
    return SequenceSet.of(UidSet.of(number for number in map(number_of, refused) if number))
