"""FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4): one plan, one query, rows in batches.

Invariants: rows come in UID order; output stays bounded, because the peer is waited for between batches and others have
their turn. A message whose octets are damaged is left out and the rest is given, with NO [CORRUPTION] in the end. Nothing of
a response is written before all of it is known to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from postroom.model.errors import Corrupt, Unavailable
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import Modseq
from postroom.model.message import Octets
from postroom.model.uidset import UidSet
from postroom.session.imap.binary import BinaryReader, Decoded
from postroom.session.imap.plan import FetchPlan, sets_seen
from postroom.session.imap.resync import vanish, vanished_since
from postroom.session.imap.sections import INLINE, Found, SectionReader
from postroom.session.imap.turn import Turn
from postroom.store.api import Column, Row
from postroom.wire.imap.commands import Fetch
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import Word
from postroom.wire.imap.values.sections import FetchAtt, FetchItem
from postroom.wire.output import BlobSlice, Output

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View

_JOINED: Final = 1 << 16
"""Octets of small messages that are written as one."""
_FLUSH_AT: Final = 1 << 18
"""Octets of output after which the peer is waited for."""


async def fetch(session: ImapSession, request: Request) -> None:
    """FETCH and UID FETCH."""
    command = request.command
    assert isinstance(command, Fetch)
    view = session.view
    assert view is not None
    session.sync.with_uid = command.uid
    if command.vanished and not session.sync.qresync:
        session.bad(request, "QRESYNC is not enabled")  # RFC 7162 §3.2.6
        return
    items = _items(command, uidonly=session.sync.uidonly)
    if FetchAtt.MODSEQ in items:
        session.sync.enable_condstore()
    uids = view.resolve(command.numbers, uid=command.uid)
    if command.partial is not None:
        uids = view.within(uids)
        uids = uids.slice(*command.partial.slice(len(uids)))
    since = command.changed_since or 0
    if command.vanished:
        asked = view.saved if command.numbers.saved else command.numbers.resolve(view.last)
        vanish(session, vanished_since(session, view, asked, Modseq(since)))
    if uids and since:
        uids = _changed_since(session, view, uids, Modseq(since))
    if not uids:
        await session.finish(request, "FETCH completed")
        return
    if sets_seen(items) and not view.read_only and await _mark_seen(session, view, uids):
        items = _with_flags(session, items)
    word = b"UIDFETCH" if session.sync.uidonly else b"FETCH"
    fetching = _Fetching(session, view, FetchPlan(items, view.recent, view.account, Turn, word), since)
    if await fetching.run(uids):
        await session.refuse(request, Corrupt.default_public, Word.CORRUPTION)
    else:
        await session.finish(request, "FETCH completed")


def _items(command: Fetch, *, uidonly: bool) -> tuple[FetchItem, ...]:
    items = command.items
    if command.uid and not uidonly and FetchAtt.UID not in items:
        items = (FetchAtt.UID, *items)
    if command.changed_since is not None and FetchAtt.MODSEQ not in items:
        items = (*items, FetchAtt.MODSEQ)
    return items


def _changed_since(session: ImapSession, view: View, uids: UidSet, since: Modseq) -> UidSet:
    """Those that changed: from the log, without a look at the rest of the mailbox. All of them where it was cut; rows are
    looked at again in any case."""
    changes = session.store.changes(view.account, view.mailbox, since)
    if changes.removed or not changes.complete:
        return uids
    return uids & UidSet.of([state.uid for state in changes.flags])


def _with_flags(session: ImapSession, items: tuple[FetchItem, ...]) -> tuple[FetchItem, ...]:
    """When this very FETCH has set \\Seen, the flags are part of its responses (RFC 3501 §6.4.5)."""
    wanted = (FetchAtt.FLAGS, FetchAtt.MODSEQ) if session.sync.condstore else (FetchAtt.FLAGS,)
    return (*(item for item in wanted if item not in items), *items)


async def _mark_seen(session: ImapSession, view: View, uids: UidSet) -> bool:
    """Set \\Seen where it is missing; returns whether it was anywhere."""
    first = session.store.first_unseen(view.account, view.mailbox)
    if first is None or first > uids.last:
        return False
    try:
        done = await session.store.store_flags(
            view.account, view.mailbox, uids, FlagChange.ADD, int(SystemFlag.SEEN), states=False
        )
    except Unavailable:
        return False  # while nothing can be written, mail can still be read
    if done.altered:
        session.sync.own_change(done.modseq)
    return bool(done.altered)


class _Fetching:
    """The rows of one FETCH on their way out."""

    __slots__ = ("_modseq_at", "_number", "_output", "_plan", "_session", "_since", "_view")

    def __init__(self, session: ImapSession, view: View, plan: FetchPlan, since: int) -> None:
        self._session = session
        self._view = view
        self._plan = plan
        self._since = since
        self._modseq_at = plan.column(Column.MODSEQ) if since else 0
        self._number = view.numberer()
        self._output: Output = session.engine.output

    async def run(self, uids: UidSet) -> bool:
        """Send everything; returns whether something was left out because it is damaged."""
        session, plan, view = self._session, self._plan, self._view
        damaged = sent = False
        for batch in session.store.fetch(view.account, view.mailbox, uids, plan.columns):
            if sent:
                # Between two batches only: a FETCH of few messages is answered where it arrives (decision 0010).
                await session.relieve(_FLUSH_AT)
            rows, numbers = self._numbered(batch)
            if not rows:
                continue
            if plan.whole:
                damaged = await self._send_whole(rows, plan.responses(rows, numbers), *plan.whole) or damaged
            elif plan.sections:
                damaged = await self._send_sections(rows, plan.responses(rows, numbers)) or damaged
            else:
                session.engine.write(plan.joined(rows, numbers))
            sent = True
        return damaged

    async def _send_whole(self, rows: list[Row], heads: Iterable[bytes], label: bytes, at: int) -> bool:
        """As ``_send_sections``, for whole messages and nothing else: what BODY.PEEK[] of a mailbox asks for. Small messages
        are joined many at a time (measured, 4 KB: 0.8 of the CPU time of FETCH 1:* BODY.PEEK[])."""
        session, write = self._session, self._output.write
        gap = b"" if self._plan.bare else b" "
        damaged = False
        pieces: list[bytes] = []
        size = 0
        for row, head in zip(rows, heads, strict=True):
            octets: Octets = row[at]
            length = octets.size
            if 0 < length <= INLINE:
                try:
                    found = octets.read(0, length)
                    if not isinstance(found, bytes):
                        found = await found
                except Corrupt:
                    damaged = True
                    continue
                pieces += (head, b"%b%b {%d}\r\n" % (gap, label, len(found)), found, b")\r\n")
                size += length
                if size <= _JOINED:
                    continue
            if pieces:
                write(b"".join(pieces))
                pieces, size = [], 0
            if not 0 < length <= INLINE:
                self._write(head, [BlobSlice(octets, 0, length) if length else b""])
            if session.engine.output_size > _FLUSH_AT:
                await session.relieve()
        if pieces:
            write(b"".join(pieces))
        return damaged

    async def _send_sections(self, rows: list[Row], heads: Iterable[bytes]) -> bool:
        session, sections = self._session, self._plan.sections
        damaged = False
        for row, head in zip(rows, heads, strict=True):
            try:
                found = [await _found(section, row) for section in sections]
            except Corrupt:
                damaged = True
                continue
            self._write(head, found)
            if session.engine.output_size > _FLUSH_AT:
                await session.relieve()
        return damaged

    def _numbered(self, batch: list[Row]) -> tuple[list[Row], Sequence[int]]:
        """The rows that concern the client and are in its picture, with their numbers."""
        if self._since:
            at, since = self._modseq_at, self._since
            batch = [row for row in batch if row[at] > since]
        uids = [row[0] for row in batch]
        following = self._view.run(uids)
        if following is not None:
            return batch, uids if self._session.sync.uidonly else following
        number = self._number
        numbers = [number(uid) for uid in uids]
        if 0 in numbers:
            batch = [row for row, place in zip(batch, numbers, strict=True) if place]
            numbers = [place for place in numbers if place]
        return batch, [row[0] for row in batch] if self._session.sync.uidonly else numbers

    def _write(self, head: bytes, found: list[Value]) -> None:
        output = self._output
        pieces = [head]
        gap = b"" if self._plan.bare else b" "
        for section, octets in zip(self._plan.sections, found, strict=True):
            if octets is None:
                pieces.append(b"%b%b NIL" % (gap, section.label))
            elif isinstance(octets, BlobSlice):
                pieces.append(b"%b%b {%d}\r\n" % (gap, section.label, octets.length))
                output.write(b"".join(pieces))
                output.write_slice(octets)
                pieces = []
            elif isinstance(octets, int):
                pieces.append(b"%b%b %d" % (gap, section.label, octets))
            elif isinstance(octets, Decoded):
                pieces = self._write_decoded(pieces, gap + section.label, octets)
            elif octets:
                pieces += (b"%b%b {%d}\r\n" % (gap, section.label, len(octets)), octets)
            else:
                pieces.append(b'%b%b ""' % (gap, section.label))
            gap = b" "
        pieces.append(b")\r\n")
        output.write(b"".join(pieces))

    def _write_decoded(self, pieces: list[bytes], label: bytes, decoded: Decoded) -> list[bytes]:
        """A decoded part; with NUL in it as literal8 (RFC 3516 §4.3). Returns what is to be written before what follows."""
        octets, mark = decoded.octets, b"~" if decoded.nul else b""
        if isinstance(octets, BlobSlice):
            pieces.append(b"%b %b{%d}\r\n" % (label, mark, octets.length))
            self._output.write(b"".join(pieces))
            self._output.write_slice(octets)
            return []
        pieces += (b"%b %b{%d}\r\n" % (label, mark, len(octets)), octets) if octets else (label + b' ""',)
        return pieces


Value = Found | Decoded | int


async def _found(section: SectionReader | BinaryReader, row: Row) -> Value:
    if isinstance(section, BinaryReader):
        return await section.read(row)
    found = section.read(row)
    if found is None or isinstance(found, bytes | BlobSlice):
        return found
    return await found
