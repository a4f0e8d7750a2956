"""QRESYNC (RFC 7162 §3.2): what has changed since a client was last here, told at SELECT or by UID FETCH.

Invariants: everything told belongs to the view's picture of the mailbox or has gone from the mailbox; where the log no longer
reaches back, what the client has is compared with what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.model.change import MailboxChanges
from postroom.model.ids import Modseq
from postroom.model.uidset import UidSet
from postroom.session.imap.sync import pieces
from postroom.wire.imap.commands import Resync
from postroom.wire.imap.responses import VanishedData

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View


async def resync(session: ImapSession, view: View, asked: Resync, changes: MailboxChanges) -> None:
    """The answer to the QRESYNC parameter, when UIDVALIDITY is still the same. ``changes`` are those since ``asked.modseq``, read
    together with the mailbox."""
    everything = UidSet([(1, view.last)]) if view.last else UidSet()
    known = everything if asked.known is None else asked.known & everything
    if changes.complete:
        # What came and went since that modseq, too: the client may have seen it before its modseq rose.
        vanish(session, (changes.gone | changes.passed) & known)
        states = [state for state in changes.flags if state.uid in known]
        await session.sync.send_states(states, with_uid=True)
        return
    vanish(session, _missing(view, known, asked.matched))
    there = view.within(known)
    newer = (state for state in session.sync.states(view, there) if state.modseq > asked.modseq)
    await session.sync.send_states(newer, with_uid=True)


def vanished_since(session: ImapSession, view: View, uids: UidSet, since: Modseq) -> UidSet:
    """Of the UIDs those that have gone since a modseq (RFC 7162 §3.2.6); maybe some that had gone before. What has not been
    reported as gone yet is left to that report."""
    changes = session.store.changes(view.account, view.mailbox, since)
    if changes.complete and not changes.removed:
        gone = (changes.gone | changes.passed) & uids
        return gone - view.within(gone)
    return _missing(view, uids & UidSet([(1, view.last)]) if view.last else UidSet(), None)


def vanish(session: ImapSession, uids: UidSet) -> None:
    """VANISHED (EARLIER), in responses of a bounded length."""
    for piece in pieces(uids):
        session.send(VanishedData(piece, earlier=True))


def _missing(view: View, known: UidSet, matched: tuple[UidSet, UidSet] | None) -> UidSet:
    """The UIDs that are not there, above the last pair of the sample that is still true (RFC 7162 §3.2.5.2)."""
    sure = 0
    if matched is not None:
        uids = view.uids
        for number, uid in zip(*matched, strict=False):
            if number > len(uids) or uids[number - 1] != uid:
                break
            sure = uid
    missing = known - view.within(known)
    return missing - UidSet([(1, sure)]) if sure else missing
