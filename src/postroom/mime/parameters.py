"""Parameters of structured MIME fields: Content-Type, Content-Disposition (RFC 2045 §5.1, RFC 2183, RFC 2231).

Purpose: split such a value into its main token and its parameters, joining continuations and decoding charsets.

Invariants: never raises; linear; at most ``MAX_PARAMETERS`` parameters (segments of a continuation count one each) are
read, ``over`` says that there were more. ``wire`` is ASCII: what IMAP's BODYSTRUCTURE shows.

It must not know: the meaning of a type or a disposition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from postroom.mime.charset import decode, guess
from postroom.mime.words import decode_words

MAX_PARAMETERS: Final = 64

MAX_VALUE: Final = 1 << 16
"""Octets of a value that are read."""

# Possessive throughout: what a repetition took it never gives back, so no attempt costs more than its octets.
# token "=" (quoted-string / everything up to the next semicolon): tolerant of spaces and specials in unquoted values.
# Type and subtype, or one token; what follows is parameters even where the semicolon was forgotten.
_MAIN: Final = re.compile(rb"\s*+[^\s;/=]++(?:\s*+/\s*+[^\s;/]++)?+(?!\s*+=)")
_GAP: Final = re.compile(rb"[\s;]*+")
_PARAMETER: Final = re.compile(
    rb'([^\s=;"]++)\s*+=\s*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)("|\\?\Z)|([^;]*+))', re.DOTALL
)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT_MARK: Final = re.compile(rb'[()"\\]')
_SEGMENT: Final = re.compile(rb"(.+?)\*(0|[1-9][0-9]{0,4})(\*?)\Z", re.DOTALL)


@dataclass(slots=True)
class Parameterised:
    """A parsed value: ``main`` is lower case; ``params`` decoded text by lower-case name; ``wire`` ASCII pairs."""

    main: str
    params: dict[str, str] = field(default_factory=dict)
    wire: list[tuple[bytes, bytes]] = field(default_factory=list)
    over: bool = False
    boundary: bytes = b""
    """The parameter of that name as octets, quoting undone: a delimiter, not text."""


def strip_comments(value: bytes) -> bytes:
    """The value without its comments, each replaced by a space (RFC 5322 §3.2.2). Nesting is counted, not recursed."""
    if b"(" not in value:
        return value
    kept: list[bytes] = []
    depth = pos = start = 0
    in_quotes = False
    for match in _COMMENT_MARK.finditer(value):
        at = match.start()
        if at < pos:  # escaped by a backslash just before
            continue
        mark = value[at]
        if mark == 0x5C:
            pos = at + 2
        elif mark == 0x22:
            if depth == 0:
                in_quotes = not in_quotes
        elif in_quotes:
            continue
        elif mark == 0x28:
            if depth == 0:
                kept.append(value[start:at])
            depth += 1
        elif depth:
            depth -= 1
            start = at + 1
    if depth == 0:
        kept.append(value[start:])
    return b" ".join(kept)


def parse_parameterised(value: bytes) -> Parameterised:
    """A Content-Type or Content-Disposition value, unfolded (RFC 2045 §5.1, RFC 2183 §2)."""
    result_over = len(value) > MAX_VALUE
    value = strip_comments(value[:MAX_VALUE])
    main = _MAIN.match(value)
    result = Parameterised("", over=result_over)
    pos, size = 0, len(value)
    if main is not None:
        result.main = b"".join(main[0].split()).lower().decode("latin-1")
        pos = main.end()
    pairs: list[tuple[bytes, bytes]] = []
    while pos < size:
        gap = _GAP.match(value, pos)
        pos = gap.end() if gap is not None else pos
        match = _PARAMETER.match(value, pos)
        if match is None:
            pos = value.find(b";", pos) + 1
            if pos == 0:
                break
            continue
        if len(pairs) >= MAX_PARAMETERS:
            result.over = True
            break
        text = match[2]
        if text is None:
            text = match[4].strip()
        elif b"\\" in text:
            text = b"".join(_ESCAPED.split(text))
        pairs.append((match[1].lower(), text))
        pos = match.end()
        if match[2] is not None:  # what stands between a closing quote and the next semicolon is nobody's
            pos = value.find(b";", pos) + 1 or size
    _collect(result, pairs)
    return result


def _collect(result: Parameterised, pairs: list[tuple[bytes, bytes]]) -> None:
    """Join continuations, decode, and keep the first of equal names (RFC 2231 §3, §4)."""
    segments: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, text in pairs:
        if b"*" in name:
            match = _SEGMENT.match(name)
            if match is not None:
                segments.setdefault(match[1], {}).setdefault(int(match[2]), (text, bool(match[3])))
                continue
            if name.endswith(b"*") and len(name) > 1:
                segments.setdefault(name[:-1], {}).setdefault(0, (text, True))
                continue
        key = name.decode("latin-1")
        if key in result.params:
            continue
        if key == "boundary":
            result.boundary = text
        result.params[key] = decode_words(text)
        if text.isascii():
            result.wire.append((_ascii_name(name), text))
        else:
            result.wire.append((_ascii_name(name) + b"*", _extended(guess(text))))
    for name, pieces in segments.items():
        _join(result, name, pieces)


def _join(result: Parameterised, name: bytes, pieces: dict[int, tuple[bytes, bool]]) -> None:
    """One parameter out of its numbered segments; a gap ends it (RFC 2231 §3)."""
    if 0 not in pieces:
        return
    charset = language = b""
    octets: list[bytes] = []
    extended = False
    for index in range(len(pieces)):
        piece = pieces.get(index)
        if piece is None:
            break
        text, is_extended = piece
        if is_extended:
            if index == 0 and text.count(b"'") >= 2:
                charset, language, text = text.split(b"'", 2)
            extended = True
            text = unquote_to_bytes(text)
        octets.append(text)
    raw = b"".join(octets)
    decoded = decode(raw, charset.decode("latin-1"))
    # The extended form is meant to replace a plain one of the same name, whatever their order (RFC 6266 §4.3's advice).
    key = name.decode("latin-1")
    plain = _ascii_name(name)
    result.params[key] = decoded
    if key == "boundary":
        result.boundary = raw
    result.wire = [pair for pair in result.wire if pair[0] != plain]
    if not extended and raw.isascii():
        result.wire.append((plain, raw))
    elif charset.isalnum() or charset.replace(b"-", b"").replace(b"_", b"").isalnum():
        tail = quote_from_bytes(raw, safe="!#$&+.^_`{}|~").encode("ascii")
        result.wire.append((plain + b"*", charset + b"'" + _ascii_name(language) + b"'" + tail))
    else:
        result.wire.append((plain + b"*", _extended(decoded)))


def _extended(text: str) -> bytes:
    """Text in the extended notation, in UTF-8 (RFC 2231 §4)."""
    return b"utf-8''" + quote_from_bytes(text.encode("utf-8", "replace"), safe="!#$&+.^_`{}|~").encode(
        "ascii"
    )


def _ascii_name(name: bytes) -> bytes:
    return name if name.isascii() else name.decode("latin-1").encode("ascii", "replace")
