"""The streaming structure scanner: octets in, Facts out, in one pass.

Purpose: what the store wants to know about a message while it streams by: the tree with the offsets of every part, the
rendered ENVELOPE and BODYSTRUCTURE, dates, thread keys, the preview.

Invariants:
- Any chunking gives the same Facts. Line ends are CRLF or LF, also mixed; octets are never changed.
- Nothing recurses; time is linear in the octets; memory is bounded by the limits below, whatever the size.
- Only a blank line or a boundary ends a header. A header whose first line is no field is empty: all is body.
- A boundary line is "--", the boundary, perhaps "--", then the line's end or white space and anything (RFC 2046 §5.1.1).
  Looking boundaries up in a dict, the longest first, makes those that begin alike harmless. A boundary of an outer
  multipart closes the inner ones.
- A multipart has at least one part, message/rfc822 exactly one; what cannot have is shown as something else: a multipart
  without a usable boundary as text/plain (RFC 2045 §5.2), a container over a limit as application/octet-stream.

It must not know: stores, protocols' state, clocks.

Measured (CPython 3.11, one core): half of the 834 real messages of 3-5 KB take about 60 microseconds each, 75 on average
with HTML and multiparts (13,000 messages/s, all Facts included). The worst of the bombs in tests/mime/test_bombs.py costs
0.2 s, because its parts, addresses and headers are limited. tests/mime/measure.py repeats this.
"""

from __future__ import annotations

import re
from typing import Final

from postroom.mime.bodystructure import (
    CONTENT_FIELDS,
    OPAQUE,
    OPTIONAL_FIELDS,
    TEXT_PLAIN,
    ContentFields,
    read_content_fields,
    render_body,
    render_encoding,
)
from postroom.mime.content import read_content_type, transfer_encoding
from postroom.mime.date import parse_date
from postroom.mime.envelope import EMPTY_ENVELOPE, ENVELOPE_FIELDS, MAX_TEXT, EnvelopeWriter
from postroom.mime.facts import Facts, Part
from postroom.mime.harvest import PreviewHarvest
from postroom.mime.header import MAX_FIELD, pick_unfolded, unfold_block
from postroom.mime.subject import base_subject, message_id, references
from postroom.mime.words import decode_words

MAX_DEPTH: Final = 100
MAX_PARTS: Final = 10_000
MAX_HEADERS: Final = 8 << 20
"""Octets of header kept in all parts of a message together."""

MAX_BOUNDARY: Final = 1000
"""RFC 2046 §5.1.1 allows 70; real senders exceed it."""

BLOCK: Final = 1 << 16

_MAX_LINE: Final = MAX_BOUNDARY + 1000  # of a boundary line with its padding
_FIRST_LINE: Final = 1000  # octets in which a header's first line must show its colon
_MESSAGE_FIELDS: Final = ENVELOPE_FIELDS | CONTENT_FIELDS
_ROOT_FIELDS: Final = _MESSAGE_FIELDS | {b"references"}

_MESSAGE: Final = b'"message" "rfc822" NIL'
_SPACE: Final = b" \t\r"
_FIELD_NAME: Final = re.compile(rb"[^\x00-\x20\x7f:]+[ \t]*:")

_HEADER, _LOST_HEADER, _BODY, _OPAQUE = range(4)


class _Frame:
    """An open part: its node, its rendered pieces, what closes it."""

    __slots__ = ("boundary", "digest", "fields", "is_message", "newlines", "part", "shadowed")

    def __init__(self, part: Part, fields: ContentFields, is_message: bool) -> None:
        self.part = part
        self.fields = fields
        self.is_message = is_message
        self.newlines = 0  # line ends before the body
        self.boundary = b""  # of a multipart, while it can still be met
        self.shadowed: int | None = None  # what the boundary meant before this multipart opened
        self.digest = False


_Match = tuple[int, bool, int]
"""A line that may be a boundary: index of the open multipart it belongs to or -1, whether it closes, the next line."""

_NO_MATCH: Final[_Match] = (-1, False, 0)


class Scanner:
    """Feed a message in chunks, then ``finish`` once. ``block`` is how much is gathered before work starts (tests)."""

    __slots__ = (
        "_base",
        "_block",
        "_buffer",
        "_cursor",
        "_eight_bit",
        "_envelope",
        "_fields",
        "_found",
        "_harvest",
        "_header_room",
        "_lengths",
        "_newlines",
        "_newlines_at",
        "_open",
        "_parts",
        "_prefix",
        "_prefixes",
        "_resume",
        "_root",
        "_stack",
        "_state",
        "_threshold",
        "_truncated",
        "_writer",
    )

    def __init__(self, *, block: int = BLOCK) -> None:
        self._buffer = bytearray()
        self._block = self._threshold = block
        self._base = 0  # offset in the message of the first octet of the buffer
        self._cursor = 0
        self._state = _HEADER
        self._resume = 0  # octets of an unfinished header already searched
        self._truncated = False
        self._eight_bit = False

        part = Part("text", "plain", 0, 0, 0, 0)
        fields = ContentFields()
        self._root = part
        self._stack = [_Frame(part, fields, True)]
        self._fields = [fields]
        self._parts = 1
        self._open: dict[bytes, int] = {}  # boundary -> index in the stack
        self._lengths: list[int] = []  # of the open boundaries, longest first
        self._prefix = 0  # the shortest of them
        self._prefixes: set[bytes] = set()

        self._newlines = 0  # line ends before _newlines_at
        self._newlines_at = 0
        self._header_room = MAX_HEADERS

        self._harvest = PreviewHarvest()
        self._writer = EnvelopeWriter()
        self._envelope = EMPTY_ENVELOPE
        self._found: dict[bytes, list[bytes]] = {}

    def feed(self, chunk: bytes) -> None:
        """The next octets of the message."""
        self._buffer += chunk
        if len(self._buffer) >= self._threshold:
            data = bytes(self._buffer)
            used = self._run(data, final=False)
            del self._buffer[:used]
            self._base += used
            # An unfinished header is joined again only when it has doubled, which keeps the work linear.
            self._threshold = max(self._block, 2 * len(self._buffer))

    def finish(self) -> Facts:
        """The end of the message."""
        data = bytes(self._buffer)
        self._run(data, final=True)
        return self._facts(self._base + len(data))

    def scan(self, octets: bytes) -> Facts:
        """The whole message at once, without copying it. Only on a fresh Scanner."""
        self._run(octets, final=True)
        return self._facts(len(octets))

    # -- the machine ---------------------------------------------------------------------------------------------
    #
    # ``data`` is what is in memory; ``pos`` the cursor, an offset in it. The two octets before the cursor are kept: they
    # tell that a line starts here and how the line before ended. A step returns the next cursor, or ~cursor when it needs
    # more octets.

    def _run(self, data: bytes, final: bool) -> int:
        """Work on ``data``; returns how many of its octets are done with."""
        pos = self._cursor
        while True:
            state = self._state
            if state == _HEADER:
                following = self._header(data, pos, final)
            elif state == _BODY:
                following = self._body(data, pos, final)
            elif state == _LOST_HEADER:
                following = self._lost_header(data, pos, final)
            else:
                following = ~len(data)
            if following < 0:
                pos = ~following
                break
            pos = following
        if final:
            self._close_to(0, data, self._base + len(data))
            return len(data)
        keep = max(pos - 2, 0)
        self._cursor = pos - keep
        self._count_newlines(data, self._base + keep)
        if self._harvest.active:
            self._harvest.take(data, self._base, self._base + keep)
        return keep

    def _header(self, data: bytes, pos: int, final: bool) -> int:
        """At or, when resumed, in a header: wait for its end."""
        size = len(data)
        if self._resume == 0:
            verdict = self._first_line(data, pos, final)
            if verdict is not None:
                return verdict
        end, following = _blank_line(data, pos + self._resume, size)
        if self._open:
            at = data.find(b"\n--", pos + self._resume, end if end >= 0 else size)
            while at >= 0:
                found = self._match(data, at, final)
                if found is None:
                    if size - pos <= self._header_room + _MAX_LINE:
                        self._resume = at - pos
                        return ~pos
                    break
                if found[0] >= 0:  # the blank line is missing: the boundary ends the header
                    end = following = at + 1
                    break
                at = data.find(b"\n--", at + 3, end if end >= 0 else size)
        if end < 0 and final:
            end = following = size
        if end >= 0 and end - pos <= self._header_room:
            self._resume = 0
            if data.find(b"\n--", pos, end) >= 0:
                cut = _own_boundary(data[pos:end])
                if cut >= 0:
                    end = following = pos + cut
            self._header_room -= end - pos
            return self._header_done(data[pos:end], data, following)
        if end >= 0 or size - pos > self._header_room + _MAX_LINE:
            return self._header_over(data, pos)
        self._resume = max(size - 2 - pos, 0)
        return ~pos

    def _first_line(self, data: bytes, pos: int, final: bool) -> int | None:
        """Decide on the first line of a header: blank, boundary or no field at all. None: it begins with a field."""
        stop = pos + _FIRST_LINE
        if _FIELD_NAME.match(data, pos, stop) is not None:
            if not self._open or not data.startswith(b"--", pos):
                return None
            found = self._match(data, pos - 1, final)
            if found is None:
                return ~pos
            return None if found[0] < 0 else self._header_done(b"", data, pos)
        newline = data.find(b"\n", pos, stop)
        if newline < 0 and stop > len(data) and not final:
            return ~pos
        line = data[pos : newline if newline >= 0 else stop]
        if newline >= 0 and line in (b"", b"\r"):
            return self._header_done(b"", data, newline + 1)
        if line.startswith((b"From ", b">From ")):  # quirk: mbox separators inside the message
            return None
        return self._header_done(b"", data, pos)

    def _header_over(self, data: bytes, pos: int) -> int:
        """The headers are over their limit: keep whole lines of what fits; all that follows is one opaque body."""
        kept = data.rfind(b"\n", pos, pos + self._header_room) + 1 or pos
        frame = self._stack[-1]
        self._truncated = True
        self._header_room = 0
        self._resume = 0
        self._read_header(frame, data[pos:kept])
        if frame.part.type in ("multipart", "message"):
            _make_opaque(frame)
        self._open.clear()
        self._state = _LOST_HEADER
        return kept

    def _lost_header(self, data: bytes, pos: int, final: bool) -> int:
        """In a header over its limit: look for its end, keeping nothing."""
        size = len(data)
        end, following = _blank_line(data, max(pos - 1, 0), size)
        if end < 0 and not final:
            return ~max(pos, size - 1)
        following = following if end >= 0 else size
        self._state = _OPAQUE
        self._start_body(self._stack[-1], data, self._base + following)
        return following

    def _body(self, data: bytes, pos: int, final: bool) -> int:
        """In a body, preamble or epilogue with open boundaries: go to the next boundary line."""
        size = len(data)
        find = data.find
        prefixes, length = self._prefixes, self._prefix
        at = find(b"\n--", max(pos - 1, 0))
        while at >= 0:
            start = at + 3
            if data[start : start + length] in prefixes:
                found = self._match(data, at, final)
                if found is None:
                    return ~max(pos, at)
                if found[0] >= 0:
                    return self._at_boundary(data, at, found)
            elif start + length > size and not final:
                return ~max(pos, at)
            at = find(b"\n--", start)
        return ~max(pos, size - 2)

    def _match(self, data: bytes, at: int, final: bool) -> _Match | None:
        """The line behind the line end ``at``, which begins with "--", looked up. None: the line is not complete yet."""
        start = at + 3
        end = data.find(b"\n", start, start + _MAX_LINE)
        following = end + 1
        if end < 0:
            if len(data) - start >= _MAX_LINE:
                return _NO_MATCH
            if not final:
                return None
            end = following = len(data)
        # The longest first: a boundary that begins with another one is not mistaken for it.
        for length in self._lengths:
            stop = start + length
            if stop > end:
                continue
            # What may follow is looked at first, being cheaper than the boundary.
            closes = False
            if stop < end and data[stop] not in _SPACE:
                if not data.startswith(b"--", stop) or (stop + 2 < end and data[stop + 2] not in _SPACE):
                    continue
                closes = True
            frame = self._open.get(data[start:stop])
            if frame is not None:
                # quirk: senders whose boundary ends with white space, which RFC 2046 §5.1.1 forbids
                return frame, closes or data[stop:end].strip() == b"--", following
        return _NO_MATCH

    def _at_boundary(self, data: bytes, at: int, found: _Match) -> int:
        """At a boundary line of an open multipart; ``at`` is the line end before it, which belongs to it."""
        index, closes, following = found
        frame = self._stack[index]
        if not closes and self._parts >= MAX_PARTS:
            self._truncated = True
            self._open.clear()
            self._state = _OPAQUE
            return following
        end = at - 1 if at and data[at - 1] == 0x0D else at
        # An empty body ends where it starts, and so do the parts around it: children stay inside their parents.
        self._close_to(index + 1, data, max(self._base + end, self._stack[-1].part.body))
        if closes:
            self._forget(frame)
            if not self._open:
                self._state = _OPAQUE
            return following
        if not frame.part.children:
            self._harvest.drop()  # what was kept in case this multipart would have no parts: it is a preamble
        child = self._add_part(self._base + following, frame.part, is_message=False)
        if frame.digest:
            child.type, child.subtype = "message", "rfc822"
            self._fields[-1].type = _MESSAGE
        return following

    # -- parts ---------------------------------------------------------------------------------------------------

    def _add_part(self, start: int, parent: Part, is_message: bool) -> Part:
        part = Part("text", "plain", start, start, start, 0)
        fields = ContentFields()
        parent.children.append(part)
        self._stack.append(_Frame(part, fields, is_message))
        self._fields.append(fields)
        self._parts += 1
        self._state = _HEADER
        return part

    def _header_done(self, block: bytes, data: bytes, following: int) -> int:
        """The header on top of the stack is complete: decide what the part is and what comes next."""
        frame = self._stack[-1]
        part = frame.part
        self._read_header(frame, block)
        body = self._base + following
        container = part.type == "multipart" or (part.type == "message" and part.subtype == "rfc822")
        if container and (len(self._stack) >= MAX_DEPTH or self._parts >= MAX_PARTS):
            self._truncated = True
            _make_opaque(frame)
            container = False
        self._start_body(frame, data, body)
        if not container:
            self._state = _BODY if self._open else _OPAQUE
        elif part.type == "message":
            self._add_part(body, part, is_message=True)
        else:
            self._remember(frame)
            self._state = _BODY
        return following

    def _start_body(self, frame: _Frame, data: bytes, body: int) -> None:
        part = frame.part
        part.body = part.end = body
        self._count_newlines(data, body)
        frame.newlines = self._newlines
        if part.type in ("text", "multipart"):
            self._harvest.begin(body)

    def _read_header(self, frame: _Frame, block: bytes) -> None:
        """Fill a part and its rendered pieces from its header; for a message the envelope too."""
        part, fields = frame.part, frame.fields
        if not block.isascii():
            self._eight_bit = True
        text = unfold_block(block)
        at_root = len(self._stack) == 1
        wanted = _ROOT_FIELDS if at_root else _MESSAGE_FIELDS if frame.is_message else CONTENT_FIELDS
        found = pick_unfolded(text, wanted)
        if len(block) > MAX_FIELD and max(map(len, text.split(b"\n"))) > MAX_FIELD:
            self._truncated = True
        if frame.is_message:
            envelope = self._writer.render(found)
            if at_root:
                self._envelope, self._found = envelope, found
            else:
                self._stack[-2].fields.envelope = envelope
        values = found.get(b"content-type")
        if values is not None:
            self._read_type(frame, values[0])
        encoding = found.get(b"content-transfer-encoding")
        if encoding is not None:
            part.encoding = transfer_encoding(encoding[0][:200]) or "7bit"
            fields.encoding = render_encoding(part.encoding)
        if not OPTIONAL_FIELDS.isdisjoint(found):
            self._truncated |= read_content_fields(found, fields)

    def _read_type(self, frame: _Frame, value: bytes) -> None:
        """Content-Type; a value that breaks the syntax counts as absent (RFC 2045 §5.2)."""
        part = frame.part
        content_type = read_content_type(value)
        self._truncated |= content_type.over
        if not content_type.type:
            return
        if content_type.type == "multipart":
            frame.boundary = content_type.boundary.rstrip(b" \t")
            if not frame.boundary or len(frame.boundary) > MAX_BOUNDARY:
                frame.boundary = b""
                part.type, part.subtype = "text", "plain"
                return
            frame.digest = content_type.subtype == "digest"
        part.type, part.subtype = content_type.type, content_type.subtype
        part.params = dict(content_type.params)
        frame.fields.type = content_type.rendered

    def _remember(self, frame: _Frame) -> None:
        """From here on this multipart's boundary can be met."""
        frame.shadowed = self._open.get(frame.boundary)
        self._open[frame.boundary] = len(self._stack) - 1
        self._index_prefixes()

    def _forget(self, frame: _Frame) -> None:
        """The boundary of this multipart can no longer be met; an outer one of the same name can again."""
        boundary, frame.boundary = frame.boundary, b""
        if boundary and self._open:
            if frame.shadowed is None:
                self._open.pop(boundary, None)
            else:
                self._open[boundary] = frame.shadowed
            self._index_prefixes()

    def _index_prefixes(self) -> None:
        if self._open:
            self._lengths = sorted(set(map(len, self._open)), reverse=True)
            self._prefix = length = self._lengths[-1]
            self._prefixes = {boundary[:length] for boundary in self._open}

    def _close_to(self, index: int, data: bytes, end: int) -> None:
        """Close the parts of the stack from ``index`` on; they all end at ``end``."""
        stack = self._stack
        if len(stack) > index:
            self._count_newlines(data, end)
            if self._harvest.active:
                self._harvest.take(data, self._base, end)
        while len(stack) > index:
            frame = stack.pop()
            part = frame.part
            part.end = end
            part.lines = self._newlines - frame.newlines
            if frame.boundary:
                self._forget(frame)
            if part.type == "multipart" and not part.children:
                part.type, part.subtype, part.params = "text", "plain", {}
                frame.fields.type = TEXT_PLAIN
            if self._harvest.active:
                self._harvest.end(part)

    # -- counting ---------------------------------------------------------------------------------------

    def _count_newlines(self, data: bytes, upto: int) -> None:
        """Bring the count of line ends up to an offset of the message; offsets only rise."""
        at = self._newlines_at
        if upto > at:
            self._newlines += data.count(b"\n", at - self._base, upto - self._base)
            self._newlines_at = upto

    # -- the result ----------------------------------------------------------------------------------------------

    def _facts(self, size: int) -> Facts:
        root = self._root
        get = self._found.get
        date = get(b"date")
        sent = parse_date(date[0]) if date else None
        raw_subject = get(b"subject")
        subject = decode_words(raw_subject[0][:MAX_TEXT]) if raw_subject else ""
        ident = get(b"message-id")
        refs, reply = get(b"references"), get(b"in-reply-to")
        short, full = render_body(root, self._fields)
        return Facts(
            size=size,
            root=root,
            envelope=self._envelope,
            body_fields=short,
            bodystructure=full,
            sent=None if sent is None else sent.epoch,
            sent_day=None if sent is None else sent.day,
            message_id=message_id(ident[0]) if ident else "",
            references=references(refs[0] if refs else None, reply[0] if reply else None),
            subject=subject,
            base_subject=base_subject(subject) if subject else "",
            preview=self._harvest.preview,
            truncated=self._truncated or self._writer.over,
            has_8bit_header=self._eight_bit,
        )


def _make_opaque(frame: _Frame) -> None:
    """A container that may not be opened (threats: MIME bombs) is shown as octets."""
    part = frame.part
    part.type, part.subtype, part.params = "application", "octet-stream", {}
    frame.fields.type = OPAQUE
    frame.boundary = b""


def _own_boundary(block: bytes) -> int:
    """Where the header of a multipart runs into its own first boundary for want of a blank line, or -1."""
    values = pick_unfolded(unfold_block(block), {b"content-type"}).get(b"content-type")
    if not values:
        return -1
    content_type = read_content_type(values[0])
    if content_type.type != "multipart" or not content_type.boundary:
        return -1
    return block.find(b"\n--" + content_type.boundary) + 1 or -1


def _blank_line(data: bytes, start: int, stop: int) -> tuple[int, int]:
    """The first blank line behind a line end in [start, stop): its offset and the next line's, or (-1, -1).

    Windows that double keep the search for two patterns near what a header is long.
    """
    window = 4096
    while start < stop:
        edge = min(start + window, stop)
        crlf = data.find(b"\n\r\n", start, edge)
        bare = data.find(b"\n\n", start, edge if crlf < 0 else crlf + 1)
        if bare >= 0:
            return bare + 1, bare + 2
        if crlf >= 0:
            return crlf + 1, crlf + 3
        if edge == stop:
            break
        start = edge - 2
        window *= 2
    return -1, -1


def scan(octets: bytes) -> Facts:
    """Facts of a message that is in memory as a whole."""
    return Scanner().scan(octets)
