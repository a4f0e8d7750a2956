"""FETCH responses at speed: functions that take plain values and give octets.

Purpose: one FETCH line costs one formatting operation; a session that answers ``FETCH 1:* (FLAGS UID)`` for 10,000 messages
joins what ``flags_line`` gives. Values already rendered (ENVELOPE, BODYSTRUCTURE) are spliced in as they are.
Literals are ``{n}`` CRLF with the octets behind them: inline, or as a BlobSlice written after ``literal_header``.

It must not know where values come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postroom.model.flags import Keywords
from postroom.wire.imap.values.atoms import write_astring, write_nstring
from postroom.wire.imap.values.dates import write_date_time
from postroom.wire.imap.values.flags import WRITTEN, write_flags
from postroom.wire.imap.values.sections import BodySection, Section, SectionText
from postroom.wire.output import BlobSlice, Output


def flags_line(
    number: int, system: int, keywords: Keywords, recent: bool, uid: int = 0, modseq: int = 0
) -> bytes:
    """A whole ``* n FETCH (FLAGS (...) UID u MODSEQ (m))`` line; UID and MODSEQ are left out when 0."""
    flags = write_flags(system, keywords, recent=recent) if keywords or recent else WRITTEN[system]
    if uid:
        if modseq:
            return b"* %d FETCH (UID %d MODSEQ (%d) FLAGS (%b))\r\n" % (number, uid, modseq, flags)
        return b"* %d FETCH (UID %d FLAGS (%b))\r\n" % (number, uid, flags)
    if modseq:
        return b"* %d FETCH (MODSEQ (%d) FLAGS (%b))\r\n" % (number, modseq, flags)
    return b"* %d FETCH (FLAGS (%b))\r\n" % (number, flags)


_THOUSAND: Final = tuple(b"%03d" % rest for rest in range(1_000))
"""The last three digits of a number."""


def lines_of_run(numbers: range, tails: Sequence[bytes]) -> bytes:
    """``* n`` and a tail for each number of a run. Few tails differ in practice, so that a line is two pieces that exist already
    and nothing is formatted (measured: a third of a ``%`` a line)."""
    pieces: list[bytes] = []
    at, first, stop = 0, numbers.start, numbers.stop
    while first < min(stop, 1_000):
        pieces += (b"* %d" % first, tails[at])
        at, first = at + 1, first + 1
    while first < stop:
        thousand, rest = divmod(first, 1_000)
        count = min(1_000 - rest, stop - first)
        some = tails[at : at + count]
        head = b"* %d" % thousand
        kinds = set(some)
        pieces.append(head)
        if len(kinds) == 1:
            pieces += ((some[0] + head).join(_THOUSAND[rest : rest + count]), some[0])
        else:
            headed = {tail: tail + head for tail in kinds}
            block = [b""] * (2 * count)
            block[0::2] = _THOUSAND[rest : rest + count]
            block[1::2] = map(headed.__getitem__, some)
            block[-1] = some[-1]
            pieces += block
        at, first = at + count, first + count
    return b"".join(pieces)


def uid_modseq_line(number: int, uid: int, modseq: int) -> bytes:
    """``* n FETCH (UID u MODSEQ (m))``: what a silent conditional STORE reports (RFC 7162 §3.1.3)."""
    if uid:
        return b"* %d FETCH (UID %d MODSEQ (%d))\r\n" % (number, uid, modseq)
    return b"* %d FETCH (MODSEQ (%d))\r\n" % (number, modseq)


def section_label(item: BodySection) -> bytes:
    """``BODY[...]<origin>`` as the response repeats it (RFC 3501 §7.4.2); compute it once per command."""
    label = b"BODY[" + write_section(item.section) + b"]"
    return label if item.partial is None else b"%b<%d>" % (label, item.partial[0])


def write_section(section: Section) -> bytes:
    """section-spec, between the brackets."""
    words = [b"%d" % number for number in section.part]
    if section.text is not SectionText.ALL:
        words.append(section.text.value.encode("ascii"))
    written = b".".join(words)
    if section.fields:
        written += b" (" + b" ".join(write_astring(name.encode("ascii")) for name in section.fields) + b")"
    return written


def literal_header(length: int) -> bytes:
    """What goes before a literal's octets."""
    return b"{%d}\r\n" % length


class FetchLine:
    """One FETCH response, item by item, into an Output. Reuse it: ``begin`` ... items ... ``end``.

    Octets gather in one piece until a BlobSlice comes, so a line without slices is a single write. Nothing is written before
    ``blob`` or ``end``: until then ``cancel`` takes everything back.
    """

    __slots__ = ("_first", "_output", "_pieces")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._pieces: list[bytes] = []
        self._first = True

    def begin(self, number: int) -> None:
        """Start the response for a sequence number."""
        self._pieces.append(b"* %d FETCH (" % number)
        self._first = True

    def item(self, octets: bytes) -> None:
        """An item already rendered, such as ``b"UID 7"``."""
        if self._first:
            self._first = False
            self._pieces.append(octets)
        else:
            self._pieces.append(b" " + octets)

    def flags(self, system: int, keywords: Keywords, recent: bool) -> None:
        """FLAGS."""
        self.item(b"FLAGS (%b)" % write_flags(system, keywords, recent=recent))

    def uid(self, uid: int) -> None:
        """UID."""
        self.item(b"UID %d" % uid)

    def modseq(self, modseq: int) -> None:
        """MODSEQ (RFC 7162 §3.1.4)."""
        self.item(b"MODSEQ (%d)" % modseq)

    def size(self, octets: int) -> None:
        """RFC822.SIZE."""
        self.item(b"RFC822.SIZE %d" % octets)

    def internal_date(self, seconds: int, zone: int) -> None:
        """INTERNALDATE."""
        self.item(b"INTERNALDATE " + write_date_time(seconds, zone))

    def rendered(self, name: bytes, value: bytes) -> None:
        """ENVELOPE, BODY or BODYSTRUCTURE with its cached value, parentheses included."""
        self.item(name + b" " + value)

    def string(self, label: bytes, octets: bytes | None) -> None:
        """A small nstring value; quoted when it can be."""
        self.item(label + b" " + write_nstring(octets))

    def octets(self, label: bytes, octets: bytes) -> None:
        """A body as a literal, inline; empty ones are the empty string."""
        if octets:
            self.item(b"%b {%d}\r\n" % (label, len(octets)))
            self._pieces.append(octets)
        else:
            self.item(label + b' ""')

    def blob(self, label: bytes, piece: BlobSlice) -> None:
        """A body as a literal whose octets the driver reads when it sends them."""
        if not piece.length:
            self.item(label + b' ""')
            return
        self.item(b"%b {%d}\r\n" % (label, piece.length))
        self._output.write(b"".join(self._pieces))
        self._pieces.clear()
        self._output.write_slice(piece)

    def cancel(self) -> bool:
        """Forget the response begun; False when a part of it has been written already, so that only closing helps."""
        began = bool(self._pieces) and self._pieces[0].startswith(b"* ")
        self._pieces.clear()
        return began

    def end(self) -> None:
        """End the response."""
        self._pieces.append(b")\r\n")
        self._output.write(b"".join(self._pieces))
        self._pieces.clear()
