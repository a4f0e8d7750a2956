"""Reports to the client what has changed in the selected mailbox: EXPUNGE, EXISTS, RECENT, FETCH (RFC 3501 §7.3, §7.4).

Invariants: after a report the view stands at the modseq that was read, except for withheld EXPUNGEs; a flag change that the
client itself asked to be silent about is not told again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.model.change import FlagState
from postroom.model.ids import Modseq
from postroom.model.uidset import UidSet
from postroom.wire.imap.fetch import flags_line
from postroom.wire.imap.responses import Exists, FlagsData, Kind, PermanentFlags, RecentCount, Untagged
from postroom.wire.imap.values.flags import ReportedFlags

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession

SYSTEM_FLAGS = 31
"""All five settable system flags."""


class Synchroniser:
    """Keeps one session's view and its client's picture the same. ``condstore`` adds MODSEQ to what is told."""

    __slots__ = ("_own", "_session", "condstore", "with_uid")

    def __init__(self, session: ImapSession) -> None:
        self._session = session
        self._own: set[Modseq] = set()
        self.condstore = False
        self.with_uid = False

    def own_change(self, modseq: Modseq) -> None:
        """Flag changes under this modseq are known to the client already (or are not to be told)."""
        self._own.add(modseq)

    async def report(self, *, expunge: bool) -> None:
        """Send what has changed since the last report; EXPUNGE only if it is allowed now."""
        session = self._session
        view = session.view
        if view is None:
            return
        if expunge and view.withheld:
            withheld, view.withheld = view.withheld, UidSet()
            self._send_expunges(withheld)
        if session.store.modseq(view.account) == view.modseq or view.removed:
            return
        changes = session.store.changes(view.account, view.mailbox, view.modseq)
        if changes.removed:
            view.removed = True
            # Reads with the UIDs that were announced, before the picture is emptied.
            self._withhold_or_send(UidSet([(1, 0xFFFFFFFF)]), expunge)
            return
        if not changes.complete:
            self._reload(expunge)
            return
        # UIDs must be those of the old modseq: load them before it moves, if there is anything to take out.
        if changes.gone:
            _ = view.uids
        view.modseq = changes.modseq
        if changes.gone:
            self._withhold_or_send(changes.gone, expunge)
        if changes.added and view.add(changes.added):
            await self._claim_recent()
            session.send(Exists(view.count))
            session.send(RecentCount(view.recent_count()))
        self._send_flags(changes.flags, changes.added)
        self._own.clear()

    def announce_keywords(self) -> None:
        """FLAGS and PERMANENTFLAGS anew, when keywords came into use (RFC 3501 §7.2.6)."""
        session = self._session
        view = session.view
        assert view is not None
        found = session.store.mailbox_by_id(view.account, view.mailbox)
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

    def _withhold_or_send(self, gone: UidSet, expunge: bool) -> None:
        view = self._session.view
        assert view is not None
        if expunge:
            self._send_expunges(gone)
        else:
            view.withheld = view.withheld | gone

    def _send_expunges(self, gone: UidSet) -> None:
        session = self._session
        assert session.view is not None
        numbers = session.view.remove(gone)
        if numbers:
            session.engine.write(b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers]))

    def _send_flags(self, states: list[FlagState], added: UidSet) -> None:
        session = self._session
        view = session.view
        assert view is not None
        own = self._own
        number_of = view.numberer()
        lines: list[bytes] = []
        new_words = False
        known = {word.lower() for word in view.keywords}
        for state in states:
            if state.modseq in own or state.uid in added:
                continue
            number = number_of(state.uid)
            if not number:
                continue
            if state.keywords and not new_words:
                new_words = any(word.lower() not in known for word in state.keywords)
            lines.append(
                flags_line(
                    number,
                    state.flags,
                    state.keywords,
                    view.is_recent(state.uid),
                    state.uid if self.with_uid or self.condstore else 0,
                    state.modseq if self.condstore else 0,
                )
            )
        if new_words:
            self.announce_keywords()
        if lines:
            session.engine.write(b"".join(lines))

    async def _claim_recent(self) -> None:
        session = self._session
        view = session.view
        assert view is not None
        if view.read_only:
            return
        first, end = await session.store.claim_recent(view.account, view.mailbox)
        if first < end:
            view.recent |= UidSet([(first, end - 1)])

    def _reload(self, expunge: bool) -> None:
        """The log no longer reaches back to the view: compare the sets instead."""
        session = self._session
        view = session.view
        assert view is not None
        before = UidSet.of(view.uids)
        modseq = session.store.modseq(view.account)
        now = UidSet.of(session.store.uids(view.account, view.mailbox))
        view.modseq = modseq
        self._withhold_or_send(before - now, expunge)
        if view.add(now - before):
            session.send(Exists(view.count))
            session.send(RecentCount(view.recent_count()))
