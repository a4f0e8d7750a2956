"""STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.model.ids import Modseq
from postroom.model.uidset import UidSet
from postroom.session.imap.sync import by_uid
from postroom.store.api import FlagsStored
from postroom.wire.imap.commands import Store
from postroom.wire.imap.events import Request
from postroom.wire.imap.fetch import uid_modseq_line
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
        await session.refuse(request, "Mailbox is read-only", Word.CANNOT)
        return
    session.sync.with_uid = command.uid
    if command.unchanged_since is not None:
        session.sync.enable_condstore()
    uids = view.resolve(command.numbers, uid=command.uid)
    if not uids:
        await session.finish(request, "STORE completed")
        return
    # What others did before is told first, so that silence about this change hides nothing else.
    await session.sync.report(expunge=False)
    since = None if command.unchanged_since is None else Modseq(command.unchanged_since)
    done = await session.store.store_flags(
        view.account,
        view.mailbox,
        uids,
        command.change,
        command.flags.system,
        command.flags.keywords,
        since,
        states=not command.silent or session.sync.condstore,
    )
    if command.flags.keywords:
        session.sync.announce_keywords()
    await _tell(session, view, command, done, uids)
    if done.refused:
        code = Modified(_numbers(view, done.refused, uid=command.uid))
        await session.finish(request, "Conditional STORE failed for some", code)
    else:
        await session.finish(request, "STORE completed")


async def _tell(session: ImapSession, view: View, command: Store, done: FlagsStored, uids: UidSet) -> None:
    """Without .SILENT the new flags of all that were named; with it only what CONDSTORE wants (RFC 7162 §3.1.3). The flags of
    those that UNCHANGEDSINCE refused are told in any case, so that the client need not ask."""
    sync = session.sync
    if not command.silent:
        if done.altered:
            sync.own_change(done.modseq)
        await sync.send_states(done.changed, with_uid=command.uid)
        had_them = uids - done.altered
        if had_them:
            await sync.send_states(sync.states(view, had_them), with_uid=command.uid)
        return
    if done.altered and done.modseq == view.modseq + 1:
        # Otherwise somebody else's change may lie in between, and to tell too much is better than too little.
        if command.flags.keywords:
            sync.own_change(done.modseq)
        else:
            # All that this modseq stands for is known here: the log need not be read to learn it (measured: half of the CPU
            # time of STORE 1:* +FLAGS.SILENT). The picture's UIDs were loaded when the command's numbers were resolved.
            view.modseq = done.modseq
        if sync.condstore:
            number = view.numberer()
            if sync.uidonly:
                lines = (by_uid(uid_modseq_line(state.uid, 0, state.modseq)) for state in done.changed)
            else:
                lines = (
                    uid_modseq_line(number(state.uid), state.uid, state.modseq) for state in done.changed
                )
            await sync.send_lines(lines)
    if done.refused:
        await sync.send_states(sync.states(view, done.refused), with_uid=command.uid)


def _numbers(view: View, refused: UidSet, *, uid: bool) -> SequenceSet:
    if uid:
        return SequenceSet.of(refused)
    return SequenceSet.of(UidSet.of(view.numbers(list(refused))))
