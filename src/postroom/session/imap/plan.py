"""The plan of a FETCH: its items turned once into columns of the store, a template and column writers.

Purpose: the cost of a row. A batch of rows is turned into columns (``zip``), each item gives a column of values, and one
``template % values`` a row makes the response: no call of ours per row and item. Items that are ready in the store
(ENVELOPE, BODYSTRUCTURE, sizes) cost nothing but the copy.

It must not know: sessions, sequence numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final

from postroom.model.ids import AccountId
from postroom.model.uidset import UidSet
from postroom.session.imap.binary import BinaryReader
from postroom.session.imap.objectid import email_id_template
from postroom.session.imap.sections import SectionReader
from postroom.store.api import Column, Row
from postroom.wire.imap.ext.binary import binary_label
from postroom.wire.imap.fetch import lines_of_run, section_label
from postroom.wire.imap.values.atoms import write_nstring
from postroom.wire.imap.values.dates import write_date_time
from postroom.wire.imap.values.flags import write_flags
from postroom.wire.imap.values.sections import (
    BinarySection,
    BinarySize,
    BodySection,
    FetchAtt,
    FetchItem,
    Preview,
    Section,
    SectionText,
)

_FLAGS_ALONE: Final = b"* %d FETCH (FLAGS (%b))\r\n"

Columns = Sequence[Sequence[Any]]
"""The columns of a batch, in the order of ``FetchPlan.columns``."""
Turns = Callable[[], Awaitable[None]]
Values = Callable[[Columns], Iterable[Any]]
"""Gives one value a row."""

_WHOLE: Final = {
    FetchAtt.RFC822: Section(),
    FetchAtt.RFC822_HEADER: Section(text=SectionText.HEADER),
    FetchAtt.RFC822_TEXT: Section(text=SectionText.TEXT),
}
_PLAIN: Final = {
    FetchAtt.UID: (b"UID %d", Column.UID),
    FetchAtt.MODSEQ: (b"MODSEQ (%d)", Column.MODSEQ),
    FetchAtt.RFC822_SIZE: (b"RFC822.SIZE %d", Column.SIZE),
    FetchAtt.ENVELOPE: (b"ENVELOPE %b", Column.ENVELOPE),
    FetchAtt.BODY: (b"BODY %b", Column.BODY),
    FetchAtt.BODYSTRUCTURE: (b"BODYSTRUCTURE %b", Column.BODYSTRUCTURE),
}


def sets_seen(items: Iterable[FetchItem]) -> bool:
    """Whether an item implies \\Seen (RFC 3501 §6.4.5)."""
    return any(
        not item.peek
        if isinstance(item, BodySection | BinarySection)
        else item in (FetchAtt.RFC822, FetchAtt.RFC822_TEXT)
        for item in items
    )


class FetchPlan:
    """What one FETCH of ``account``'s mail needs and how rows become responses; ``recent`` are the UIDs to be
    shown as \\Recent, ``turn`` lets others have theirs while large parts are decoded."""

    __slots__ = (
        "_account",
        "_at",
        "_fragments",
        "_recent",
        "_turn",
        "_values",
        "columns",
        "sections",
        "template",
    )

    def __init__(
        self,
        items: Sequence[FetchItem],
        recent: UidSet,
        account: AccountId,
        turn: Turns,
        word: bytes = b"FETCH",
    ) -> None:
        """``word`` names the responses: UIDFETCH where UIDs stand in the place of numbers (RFC 9586 §3.3)."""
        self.columns: list[Column] = []
        self._at: dict[Column, int] = {}
        self._recent = recent
        self._account = account
        self._turn = turn
        self._fragments: list[bytes] = []
        self._values: list[Values] = []
        self.sections: list[SectionReader | BinaryReader] = []
        self.column(Column.UID)
        for item in items:
            self._add(item)
        self.template = (
            b"* %d " + word + b" (" + b" ".join(self._fragments) + (b"" if self.sections else b")\r\n")
        )
        """With sections the response is not closed: they follow."""

    def column(self, column: Column) -> int:
        """Where the column stands in a row; added if it is not asked for yet."""
        if column not in self._at:
            self._at[column] = len(self.columns)
            self.columns.append(column)
        return self._at[column]

    @property
    def bare(self) -> bool:
        """Whether there is nothing but sections."""
        return not self._fragments

    @property
    def whole(self) -> tuple[bytes, int] | None:
        """Label and place of the octets in a row, when whole messages are the only section."""
        section = self.sections[0] if len(self.sections) == 1 else None
        if isinstance(section, SectionReader) and section.whole is not None:
            return section.label, section.whole
        return None

    def responses(self, rows: Sequence[Row], numbers: Iterable[int]) -> Iterable[bytes]:
        """The responses for rows with these sequence numbers, one each; open-ended when there are sections."""
        columns = list(zip(*rows, strict=True))
        values = [column(columns) for column in self._values]
        return map(self.template.__mod__, zip(numbers, *values, strict=True))

    def joined(self, rows: Sequence[Row], numbers: Iterable[int]) -> bytes:
        """All responses in one, for a plan without sections: one ``%`` for a batch, two thirds of one for each row."""
        columns = list(zip(*rows, strict=True))
        values = [column(columns) for column in self._values]
        if self.template == _FLAGS_ALONE and isinstance(numbers, range):
            flags = list(values[0])
            tails = {each: b" FETCH (FLAGS (%b))\r\n" % each for each in set(flags)}
            if len(tails) == 1:
                return lines_of_run(numbers, [tails[flags[0]]] * len(flags))
            return lines_of_run(numbers, list(map(tails.__getitem__, flags)))
        return self.template * len(rows) % tuple(chain.from_iterable(zip(numbers, *values, strict=True)))

    def _add(self, item: FetchItem) -> None:
        if isinstance(item, BinarySection | BinarySize):
            self._add_binary(item)
        elif isinstance(item, BodySection):
            self._add_section(item.section, item.partial, section_label(item))
        elif item in _WHOLE:
            self._add_section(_WHOLE[item], None, item.value.encode("ascii"))
        elif isinstance(item, Preview):
            # Made when the message came: PREVIEW (LAZY) need not go without (RFC 8970 §3.1).
            self._fragments.append(b"PREVIEW %b")
            self._values.append(_strings(self.column(Column.PREVIEW)))
        elif item is FetchAtt.EMAILID:
            self._fragments.append(email_id_template(self._account))
            self._values.append(_given(self.column(Column.MESSAGE)))
        elif item is FetchAtt.THREADID:
            self._fragments.append(b"THREADID NIL%b")
            self._values.append(lambda columns: [b""] * len(columns[0]))
        elif item is FetchAtt.FLAGS:
            self._fragments.append(b"FLAGS (%b)")
            self._values.append(
                flag_values(self.column(Column.FLAGS), self.column(Column.KEYWORDS), self._recent)
            )
        elif item is FetchAtt.INTERNALDATE:
            self._fragments.append(b"INTERNALDATE %b")
            self._values.append(date_values(self.column(Column.INTERNAL_DATE), self.column(Column.ZONE)))
        elif item is FetchAtt.SAVEDATE:
            self._fragments.append(b"SAVEDATE %b")
            self._values.append(_save_dates(self.column(Column.SAVED)))
        else:
            fragment, column = _PLAIN[item]
            self._fragments.append(fragment)
            self._values.append(_given(self.column(column)))

    def _add_section(self, section: Section, partial: tuple[int, int] | None, label: bytes) -> None:
        octets = self.column(Column.OCTETS)
        whole = not section.part and section.text is SectionText.ALL
        structure = None if whole else self.column(Column.STRUCTURE)
        self.sections.append(SectionReader(section, partial, label, octets, structure))

    def _add_binary(self, item: BinarySection | BinarySize) -> None:
        octets, structure = self.column(Column.OCTETS), self.column(Column.STRUCTURE)
        size = isinstance(item, BinarySize)
        partial = item.partial if isinstance(item, BinarySection) else None
        self.sections.append(
            BinaryReader(item.part, partial, binary_label(item), octets, structure, self._turn, size=size)
        )


def _strings(at: int) -> Values:
    return lambda columns: [write_nstring(text.encode()) for text in columns[at]]


def _given(at: int) -> Values:
    return lambda columns: columns[at]


class _Written(dict[tuple[int, str], bytes]):
    """The wire form of flag bits and keywords, each made once; looked up without a call of ours."""

    def __init__(self, *, recent: bool) -> None:
        super().__init__()
        self._recent = recent

    def __missing__(self, key: tuple[int, str]) -> bytes:
        bits, words = key
        found = write_flags(bits, tuple(words.split(" ")) if words else (), recent=self._recent)
        self[key] = found
        return found


def flag_values(flags: int, keywords: int, recent: UidSet) -> Values:
    """The flags of each row, without their parentheses; ``flags`` and ``keywords`` are places in ``Columns``."""
    written, written_recent = _Written(recent=False), _Written(recent=True)

    def values(columns: Columns) -> Iterable[bytes]:
        return map(written.__getitem__, zip(columns[flags], columns[keywords], strict=True))

    def recent_values(columns: Columns) -> Iterable[bytes]:
        uids = columns[0]
        pairs = zip(columns[flags], columns[keywords], strict=True)
        among = recent & UidSet([(uids[0], uids[-1])])
        if not among:
            return map(written.__getitem__, pairs)
        if among.ranges == ((uids[0], uids[-1]),):
            return map(written_recent.__getitem__, pairs)
        kinds = [written_recent if uid in among else written for uid in uids]
        return [kind[pair] for kind, pair in zip(kinds, pairs, strict=True)]

    return recent_values if recent else values


def _save_dates(at: int) -> Values:
    """In UTC; NIL where it is not known."""
    return lambda columns: [b"NIL" if each is None else write_date_time(each, 0) for each in columns[at]]


def date_values(seconds: int, zone: int) -> Values:
    """INTERNALDATE of each row, with its quotes. Neighbours often share a day: its words are made once."""
    days: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    def write(moment: int, east: int) -> bytes:
        day, rest = divmod(moment + east * 60, 86_400)
        found = days.get((day, east))
        if found is None:
            midnight = write_date_time(day * 86_400 - east * 60, east)  # "dd-mon-yyyy hh:mm:ss +zzzz"
            found = days[day, east] = midnight[:13], midnight[21:]
        minutes, second = divmod(rest, 60)
        return b"%b%02d:%02d:%02d%b" % (found[0], minutes // 60, minutes % 60, second, found[1])

    return lambda columns: map(write, columns[seconds], columns[zone])
