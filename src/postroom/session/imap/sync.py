"""Reports to the client what has changed in the selected mailbox: EXPUNGE, EXISTS, RECENT, FETCH (RFC 3501 §7.3, §7.4).

Invariants: after a report the view stands at the modseq that was read, except for withheld EXPUNGEs; a flag change that the
client itself asked to be silent about is not told again. A mailbox that was deleted looks empty from then on, and commands
on its messages answer NO [NONEXISTENT].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from postroom.model.change import FlagState
from postroom.model.errors import NoSuchMailbox, PostroomError
from postroom.model.ids import MAX_UID, Modseq
from postroom.model.uidset import UidSet
from postroom.store.api import Column
from postroom.wire.imap.fetch import flags_line
from postroom.wire.imap.responses import (
    Exists,
    FlagsData,
    HighestModseq,
    Kind,
    PermanentFlags,
    RecentCount,
    Untagged,
    VanishedData,
)
from postroom.wire.imap.selected import SYSTEM_FLAGS
from postroom.wire.imap.values.flags import ReportedFlags

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View

_LINES: Final = 2_000
"""Short responses written between two looks at how much waits."""


_RANGES: Final = 1_000
"""In one VANISHED response."""


def pieces(uids: UidSet) -> Iterator[UidSet]:
    """The set in parts that make responses of a bounded length."""
    for at in range(0, len(uids.ranges), _RANGES):
        yield UidSet(uids.ranges[at : at + _RANGES])


def by_uid(line: bytes) -> bytes:
    """UIDFETCH from the line of a FETCH whose number is a UID (RFC 9586 §3.3)."""
    return line.replace(b" FETCH ", b" UIDFETCH ", 1)


class Synchroniser:
    """Keeps one session's view and its client's picture the same. ``condstore`` adds MODSEQ to what is told; with ``qresync``
    UIDs vanish instead of numbers being expunged (RFC 7162 §3.2.10). With ``uidonly`` no message has a number for the client:
    they vanish, too, and UIDFETCH stands in the place of FETCH (RFC 9586 §3)."""

    __slots__ = ("_own", "_session", "condstore", "qresync", "uidonly", "with_uid")

    def __init__(self, session: ImapSession) -> None:
        self._session = session
        self._own: set[Modseq] = set()
        self.condstore = False
        self.qresync = False
        self.uidonly = False
        self.with_uid = False

    def own_change(self, modseq: Modseq) -> None:
        """Flag changes under this modseq are known to the client already (or are not to be told)."""
        self._own.add(modseq)

    def enable_condstore(self) -> None:
        """From now on MODSEQ is reported with flag changes; the first time, HIGHESTMODSEQ of the open mailbox is told, as far
        as its changes have been (RFC 7162 §3.1)."""
        if self.condstore:
            return
        self.condstore = True
        session = self._session
        view = session.view
        if view is not None and not view.removed:
            highest = session.store.mailbox_by_id(view.account, view.mailbox).highest_modseq
            session.send(Untagged(Kind.OK, "Highest", HighestModseq(min(highest, view.modseq))))

    async def report(self, *, expunge: bool) -> None:
        """Send what has changed since the last report; EXPUNGE only if it is allowed now."""
        session = self._session
        view = session.view
        if view is None:
            return
        if expunge and view.withheld:
            withheld, view.withheld = view.withheld, UidSet()
            await self._send_expunges(view, withheld)
        if view.removed or session.store.modseq(view.account) == view.modseq:
            return
        changes = session.store.changes(view.account, view.mailbox, view.modseq)
        if changes.removed:
            await self._mailbox_gone(view, expunge=expunge)
            return
        if not changes.complete:
            await self._compare(view, expunge=expunge)
            return
        if changes.gone:
            try:
                _ = view.uids  # those of the old modseq: to be loaded before it moves
                row = session.store.mailbox_by_id(view.account, view.mailbox)
            except NoSuchMailbox:
                await self._mailbox_gone(view, expunge=expunge)
                return
            if not row.selectable or row.uid_validity != view.uid_validity:
                await self._mailbox_gone(view, expunge=expunge)
                return
        view.modseq = changes.modseq
        await self._withhold_or_send(view, changes.gone, expunge=expunge)
        await self._send_added(view, changes.added)
        await self._send_flags(view, changes.flags, changes.added)
        self._own.clear()

    async def expunged(self, gone: UidSet, modseq: Modseq) -> None:
        """The client's own EXPUNGE removed ``gone`` under ``modseq``. When nothing else can have happened since the last report
        it is told at once: the log need not be read to learn it (measured: half of the loop's time of EXPUNGE of 10,000)."""
        view = self._session.view
        assert view is not None
        if not gone or not view.loaded or modseq != view.modseq + 1:
            return  # told by the next report, with what else there is
        view.modseq = modseq
        withheld, view.withheld = view.withheld, UidSet()
        await self._send_expunges(view, withheld | gone)

    def announce_keywords(self) -> None:
        """FLAGS and PERMANENTFLAGS anew, when keywords came into use (RFC 3501 §7.2.6)."""
        session = self._session
        view = session.view
        assert view is not None
        try:
            found = session.store.mailbox_by_id(view.account, view.mailbox)
        except PostroomError:
            return  # told with the next change; flags are not lost for it
        if found.keywords == view.keywords:
            return
        view.keywords = found.keywords
        session.send(FlagsData(ReportedFlags(SYSTEM_FLAGS, view.keywords)))
        if not view.read_only:
            session.send(
                Untagged(
                    Kind.OK,
                    "Flags permitted",
                    PermanentFlags(ReportedFlags(SYSTEM_FLAGS, view.keywords, star=True)),
                )
            )

    async def send_states(self, states: Iterable[FlagState], *, with_uid: bool) -> None:
        """FETCH with the flags of each, and MODSEQ for those who know it; waits when much is unread."""
        view = self._session.view
        assert view is not None
        number_of, recent, condstore = view.numberer(), view.recent, self.condstore
        with_uid = with_uid or condstore or self._session.rev2
        if self.uidonly:
            await self.send_lines(
                by_uid(
                    flags_line(
                        state.uid,
                        state.flags,
                        state.keywords,
                        state.uid in recent,
                        0,
                        state.modseq * condstore,
                    )
                )
                for state in states
                if number_of(state.uid)
            )
            return
        numbered = ((number_of(state.uid), state) for state in states)
        await self.send_lines(
            flags_line(
                number,
                state.flags,
                state.keywords,
                state.uid in recent,
                state.uid if with_uid else 0,
                state.modseq if condstore else 0,
            )
            for number, state in numbered
            if number
        )

    def states(self, view: View, uids: UidSet) -> Iterator[FlagState]:
        """The flags of messages as they are now."""
        columns = (Column.UID, Column.FLAGS, Column.KEYWORDS, Column.MODSEQ)
        for batch in self._session.store.fetch(view.account, view.mailbox, uids, columns):
            for uid, flags, keywords, modseq in batch:
                yield FlagState(uid, flags, tuple(keywords.split(" ")) if keywords else (), modseq)

    async def send_lines(self, lines: Iterable[bytes]) -> None:
        """Many short untagged responses; waits when much is unread, and lets others have their turn."""
        source = iter(lines)
        while some := list(islice(source, _LINES)):
            self._session.engine.write(b"".join(some))
            if len(some) == _LINES:
                await self._session.relieve()

    async def _withhold_or_send(self, view: View, gone: UidSet, *, expunge: bool) -> None:
        if not gone:
            return
        if expunge:
            await self._send_expunges(view, gone)
        else:
            view.withheld = view.withheld | gone

    async def _mailbox_gone(self, view: View, *, expunge: bool) -> None:
        view.removed = True
        await self._withhold_or_send(view, UidSet([(1, MAX_UID)]), expunge=expunge)

    async def _send_expunges(self, view: View, gone: UidSet) -> None:
        if self.qresync or self.uidonly:
            for piece in pieces(view.within(gone)):
                self._session.send(VanishedData(piece))
        numbers = view.remove_all() if view.removed else view.remove(gone)
        if self.qresync or self.uidonly:
            return
        for at in range(0, len(numbers), _LINES):
            some = numbers[at : at + _LINES]
            self._session.engine.write(b"* %d EXPUNGE\r\n" * len(some) % tuple(some))
            if len(some) == _LINES:
                await self._session.relieve()

    async def _send_added(self, view: View, added: UidSet) -> None:
        if not added or not view.add(added):
            return
        if self._session.rev2:
            self._session.send(Exists(view.count))
            return
        await self._claim_recent(view)
        self._session.send(Exists(view.count))
        self._session.send(RecentCount(view.recent_count()))

    async def _send_flags(self, view: View, states: list[FlagState], added: UidSet) -> None:
        own = self._own
        known = {word.lower() for word in view.keywords}
        if any(word.lower() not in known for state in states for word in state.keywords):
            self.announce_keywords()
        told = [state for state in states if state.modseq not in own and state.uid not in added]
        await self.send_states(told, with_uid=self.with_uid)

    async def _claim_recent(self, view: View) -> None:
        store = self._session.store
        try:
            if view.read_only:
                row = store.mailbox_by_id(view.account, view.mailbox)
                first, end = row.recent_from, row.uid_next
            else:
                first, end = await store.claim_recent(view.account, view.mailbox)
        except PostroomError:
            return  # EXISTS matters more than \Recent
        if first < end:
            view.recent |= UidSet([(first, end - 1)])

    async def _compare(self, view: View, *, expunge: bool) -> None:
        """The log no longer reaches back to the view: compare the sets instead, and tell all flags anew."""
        session = self._session
        modseq = session.store.modseq(view.account)
        try:
            before = UidSet.of(view.uids)
            now = UidSet.of(session.store.uids(view.account, view.mailbox))
        except NoSuchMailbox:
            await self._mailbox_gone(view, expunge=expunge)
            return
        view.modseq = modseq
        await self._withhold_or_send(view, before - now, expunge=expunge)
        await self._send_added(view, now - before)
        await self.send_states(self.states(view, before & now), with_uid=self.with_uid)
        self._own.clear()
