"""FETCH (RFC 3501 §6.4.5): one plan, one query, rows in batches.

Purpose: the items of a command are turned once into columns and into functions that render a row; after that the cost of a
row is those functions and one join. Cached ENVELOPE and BODYSTRUCTURE octets are spliced in, large bodies leave as slices.

Invariants: rows come in UID order; output stays bounded because the peer is waited for between batches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from postroom.mime.header import header_fields
from postroom.mime.structure import load_structure, section_range
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.message import Octets
from postroom.model.uidset import UidSet
from postroom.store.api import Column, Row
from postroom.wire.imap.commands import Fetch
from postroom.wire.imap.events import Request
from postroom.wire.imap.fetch import FetchLine, section_label
from postroom.wire.imap.values.dates import write_date_time
from postroom.wire.imap.values.flags import WRITTEN, write_flags
from postroom.wire.imap.values.sections import BodySection, FetchAtt, FetchItem, Section, SectionText
from postroom.wire.output import BlobSlice

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View

_INLINE: Final = 1 << 14
"""Bodies up to this size are written as octets; larger ones as slices that the driver reads when it sends them."""
_FLUSH_AT: Final = 1 << 18
"""Octets of output after which the peer is waited for."""

Render = Callable[[Row], bytes]
RenderBody = Callable[[Row, FetchLine], Awaitable[None]]

_WHOLE: Final = {
    FetchAtt.RFC822: Section(),
    FetchAtt.RFC822_HEADER: Section(text=SectionText.HEADER),
    FetchAtt.RFC822_TEXT: Section(text=SectionText.TEXT),
}


class FetchPlan:
    """What one FETCH needs and how a row becomes a response."""

    __slots__ = ("_at", "bodies", "columns", "renders", "sets_seen", "shows_flags", "uses_modseq")

    def __init__(self, items: tuple[FetchItem, ...], view: View) -> None:
        self.columns: list[Column] = [Column.UID, Column.MODSEQ]
        self._at = {Column.UID: 0, Column.MODSEQ: 1}
        self.renders: list[Render] = []
        self.bodies: list[RenderBody] = []
        self.sets_seen = False
        self.shows_flags = FetchAtt.FLAGS in items
        self.uses_modseq = FetchAtt.MODSEQ in items
        for item in items:
            if isinstance(item, BodySection):
                self.sets_seen = self.sets_seen or not item.peek
                self.bodies.append(self._section(item.section, item.partial, section_label(item)))
            elif item in _WHOLE:
                self.sets_seen = self.sets_seen or item is not FetchAtt.RFC822_HEADER
                self.bodies.append(self._section(_WHOLE[item], None, item.value.encode()))
            else:
                self.renders.append(self._simple(item, view))

    def column(self, column: Column) -> int:
        """Where the column stands in a row; added if it is not asked for yet."""
        if column not in self._at:
            self._at[column] = len(self.columns)
            self.columns.append(column)
        return self._at[column]

    def add_flags(self, view: View) -> Render:
        """Renders FLAGS."""
        flags, keywords = self.column(Column.FLAGS), self.column(Column.KEYWORDS)
        recent = view.recent
        if not recent:
            plain = [b"FLAGS (" + WRITTEN[bits] + b")" for bits in range(32)]

            def render(row: Row) -> bytes:
                if row[keywords]:
                    return b"FLAGS (%b)" % write_flags(row[flags], tuple(row[keywords].split(" ")))
                return plain[row[flags]]

            return render

        def render_recent(row: Row) -> bytes:
            words = tuple(row[keywords].split(" ")) if row[keywords] else ()
            return b"FLAGS (%b)" % write_flags(row[flags], words, recent=row[0] in recent)

        return render_recent

    def _simple(self, item: FetchAtt, view: View) -> Render:
        match item:
            case FetchAtt.UID:
                return lambda row: b"UID %d" % row[0]
            case FetchAtt.MODSEQ:
                return lambda row: b"MODSEQ (%d)" % row[1]
            case FetchAtt.FLAGS:
                return self.add_flags(view)
            case FetchAtt.RFC822_SIZE:
                size = self.column(Column.SIZE)
                return lambda row: b"RFC822.SIZE %d" % row[size]
            case FetchAtt.INTERNALDATE:
                date, zone = self.column(Column.INTERNAL_DATE), self.column(Column.ZONE)
                return lambda row: b"INTERNALDATE " + write_date_time(row[date], row[zone])
            case FetchAtt.ENVELOPE:
                return self._cached(Column.ENVELOPE, b"ENVELOPE ")
            case FetchAtt.BODY:
                return self._cached(Column.BODY, b"BODY ")
            case FetchAtt.BODYSTRUCTURE:
                return self._cached(Column.BODYSTRUCTURE, b"BODYSTRUCTURE ")
            case _:
                raise AssertionError(f"not a simple item: {item}")

    def _cached(self, column: Column, name: bytes) -> Render:
        at = self.column(column)
        return lambda row: name + row[at]

    def _section(self, section: Section, partial: tuple[int, int] | None, label: bytes) -> RenderBody:
        octets_at = self.column(Column.OCTETS)
        if not section.part and section.text is SectionText.ALL:

            async def whole(row: Row, line: FetchLine) -> None:
                octets: Octets = row[octets_at]
                await _write_range(line, label, octets, 0, octets.size, partial)

            return whole
        structure_at = self.column(Column.STRUCTURE)
        filtered = section.text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT)
        what: Any = "HEADER" if filtered else section.text.value
        names = frozenset(name.encode("ascii", "replace").lower() for name in section.fields)
        negate = section.text is SectionText.HEADER_FIELDS_NOT

        async def part(row: Row, line: FetchLine) -> None:
            octets: Octets = row[octets_at]
            found = section_range(load_structure(row[structure_at]), section.part, what)
            if found is None:
                line.string(label, None)
                return
            start, end = found
            if not filtered:
                await _write_range(line, label, octets, start, end, partial)
                return
            header = header_fields(await _read(octets, start, end - start), names, negate)
            if partial is not None:
                header = header[partial[0] : partial[0] + partial[1]]
            line.octets(label, header)

        return part


async def _read(octets: Octets, offset: int, length: int) -> bytes:
    got = octets.read(offset, length)
    return got if isinstance(got, bytes) else await got


async def _write_range(
    line: FetchLine, label: bytes, octets: Octets, start: int, end: int, partial: tuple[int, int] | None
) -> None:
    if partial is not None:
        # RFC 3501 §6.4.5: beyond the end the answer is empty.
        start = min(start + partial[0], end)
        end = min(start + partial[1], end)
    if end - start <= _INLINE:
        line.octets(label, await _read(octets, start, end - start))
    else:
        line.blob(label, BlobSlice(octets, start, end - start))


async def fetch(session: ImapSession, request: Request) -> None:
    """FETCH and UID FETCH."""
    command = request.command
    assert isinstance(command, Fetch)
    view = session.view
    assert view is not None
    items = command.items
    session.sync.with_uid = command.uid
    if command.uid and FetchAtt.UID not in items:
        items = (FetchAtt.UID, *items)
    if command.changed_since is not None and FetchAtt.MODSEQ not in items:
        items = (*items, FetchAtt.MODSEQ)
    if FetchAtt.MODSEQ in items:
        session.sync.condstore = True
    uids = view.resolve(command.numbers, uid=command.uid)
    if not uids:
        await session.finish(request, "FETCH completed")
        return
    plan = FetchPlan(items, view)
    seen_now = UidSet()
    if plan.sets_seen and not view.read_only:
        seen_now = await _mark_seen(session, view, uids)
    extra = plan.add_flags(view) if seen_now and not plan.shows_flags else None
    await _send_rows(session, view, plan, uids, command.changed_since or 0, seen_now, extra)
    await session.finish(request, "FETCH completed")


async def _mark_seen(session: ImapSession, view: View, uids: UidSet) -> UidSet:
    """Set \\Seen where it is missing; returns where it was (RFC 3501 §6.4.5)."""
    first = session.store.first_unseen(view.account, view.mailbox)
    if first is None or first > uids.last:
        return UidSet()
    done = await session.store.store_flags(
        view.account, view.mailbox, uids, FlagChange.ADD, int(SystemFlag.SEEN)
    )
    if done.changed:
        session.sync.own_change(done.modseq)
    return UidSet.of(state.uid for state in done.changed)


async def _send_rows(
    session: ImapSession,
    view: View,
    plan: FetchPlan,
    uids: UidSet,
    since: int,
    seen_now: UidSet,
    extra: Render | None,
) -> None:
    engine, transport = session.engine, session.transport
    number_of = view.numberer()
    renders, bodies = plan.renders, plan.bodies
    line = FetchLine(engine.output)
    for batch in session.store.fetch(view.account, view.mailbox, uids, plan.columns):
        if not bodies:
            lines = [
                b"* %d FETCH (%b)\r\n" % (number_of(row[0]), b" ".join([render(row) for render in renders]))
                for row in batch
                if row[1] > since and number_of(row[0])
            ]
            engine.write(b"".join(lines))
        else:
            for row in batch:
                number = number_of(row[0])
                if not number or row[1] <= since:
                    continue
                line.begin(number)
                for render in renders:
                    line.item(render(row))
                if extra is not None and row[0] in seen_now:
                    line.item(extra(row))
                for body in bodies:
                    await body(row, line)
                line.end()
                if engine.output_size > _FLUSH_AT:
                    await transport.flush()
        if engine.output_size > _FLUSH_AT:
            await transport.flush()
