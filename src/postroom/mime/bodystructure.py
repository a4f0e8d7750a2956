"""IMAP's BODY and BODYSTRUCTURE, rendered (RFC 3501 §7.4.2, §9 body).

Invariants: pure ASCII, balanced, made without recursion, at most ``MAX_BODYSTRUCTURE`` octets: a tree whose full form is
larger is rendered lean, with everything optional NIL. Every multipart has at least one part and every message/rfc822 its
message, because the scanner makes no others and the grammar has no word for them.

It must not know: where the message is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postroom.mime.envelope import EMPTY_ENVELOPE
from postroom.mime.facts import Part
from postroom.mime.nstring import NIL, nstring, quoted
from postroom.mime.parameters import Parameterised, parse_parameterised, strip_comments

MAX_BODYSTRUCTURE: Final = 1 << 20
_MAX_TEXT: Final = 1 << 15
_MAX_NAME: Final = 40
_MAX_LANGUAGES: Final = 64

CONTENT_FIELDS: Final = frozenset(
    (
        b"content-type",
        b"content-transfer-encoding",
        b"content-id",
        b"content-description",
        b"content-md5",
        b"content-disposition",
        b"content-language",
        b"content-location",
    )
)


@dataclass(slots=True)
class ContentFields:
    """Rendered pieces of one part's header; ``envelope`` only for an embedded message. Kept beside the Part."""

    params: bytes = NIL
    id: bytes = NIL
    description: bytes = NIL
    tail: bytes = b" NIL NIL NIL"
    """disposition, language, location, each after a space"""
    md5: bytes = NIL
    envelope: bytes = EMPTY_ENVELOPE


def render_parameters(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A parameter list (RFC 3501 §9 body-fld-param)."""
    if not pairs:
        return NIL
    return b"(" + b" ".join([quoted(name) + b" " + quoted(value[:_MAX_TEXT]) for name, value in pairs]) + b")"


def _text(values: list[bytes] | None) -> bytes:
    return NIL if not values or not values[0] else quoted(values[0][:_MAX_TEXT])


@lru_cache(maxsize=256)
def _cached_disposition(value: bytes) -> bytes:
    return _render_disposition(parse_parameterised(value))


def _render_disposition(parsed: Parameterised) -> bytes:
    if not parsed.main:
        return NIL
    return (
        b"("
        + quoted(parsed.main[:_MAX_TEXT].encode("ascii", "replace"))
        + b" "
        + render_parameters(parsed.wire)
        + b")"
    )


def _disposition(values: list[bytes] | None) -> tuple[bytes, bool]:
    """Content-Disposition (RFC 2183), and whether it has too many parameters."""
    if not values:
        return NIL, False
    if len(values[0]) <= 16:
        return _cached_disposition(values[0]), False
    parsed = parse_parameterised(values[0])
    return _render_disposition(parsed), parsed.over


def _language(values: list[bytes] | None) -> bytes:
    """Content-Language (RFC 3282): a string or a list of them."""
    if not values:
        return NIL
    value = strip_comments(values[0][:_MAX_TEXT])
    tags = [tag for piece in value.split(b",", _MAX_LANGUAGES)[:_MAX_LANGUAGES] if (tag := piece.strip())]
    if not tags:
        return NIL
    if len(tags) == 1:
        return quoted(tags[0])
    return b"(" + b" ".join(map(quoted, tags)) + b")"


def read_content_fields(found: Mapping[bytes, list[bytes]], fields: ContentFields) -> bool:
    """Render the optional fields of a part out of picked ones; whether a limit was met."""
    get = found.get
    disposition, over = _disposition(get(b"content-disposition"))
    language = get(b"content-language")
    location = get(b"content-location")
    fields.id = _text(get(b"content-id"))
    fields.description = _text(get(b"content-description"))
    fields.md5 = _text(get(b"content-md5"))
    if disposition is not NIL or language or location:
        fields.tail = b" %b %b %b" % (disposition, _language(language), _text(location))
    return over


_LEAN: Final = ContentFields()


def _name(text: str, lean: bool) -> bytes:
    raw = text.encode("ascii", "replace")
    return quoted(raw[:_MAX_NAME] if lean else raw[:_MAX_TEXT])


def render_leaf(part: Part, fields: ContentFields, extensions: bool, lean: bool = False) -> bytes:
    """A part without parts of its own (RFC 3501 §9 body-type-basic, body-type-text)."""
    head = b"(%b %b %b %b %b %b %d" % (
        _name(part.type, lean),
        _name(part.subtype, lean),
        fields.params,
        fields.id,
        fields.description,
        _name(part.encoding, lean),
        part.end - part.body,
    )
    if part.type == "text":
        head += b" %d" % part.lines
    if extensions:
        return head + b" " + fields.md5 + fields.tail + b")"
    return head + b")"


def render_body(root: Part, fields: Sequence[ContentFields], extensions: bool) -> bytes:
    """The tree; ``fields`` are those of its parts in order of appearance. With ``extensions`` it is BODYSTRUCTURE."""
    if not root.children:
        text = render_leaf(root, fields[0], extensions)
        return text if len(text) <= MAX_BODYSTRUCTURE else render_leaf(root, _LEAN, extensions, lean=True)
    text = _render_tree(root, fields, extensions, lean=False)
    return text if len(text) <= MAX_BODYSTRUCTURE else _render_tree(root, fields, extensions, lean=True)


def _render_tree(root: Part, fields: Sequence[ContentFields], extensions: bool, lean: bool) -> bytes:
    """Two visits to every container: its opening before, its closing behind its children."""
    out: list[bytes] = []
    index = 0
    size = 0
    stack: list[Part | bytes] = [root]
    while stack:
        part = stack.pop()
        if isinstance(part, bytes):
            out.append(part)
            continue
        own = _LEAN if lean else fields[index]
        index += 1
        if not part.children:
            out.append(render_leaf(part, own, extensions, lean))
        elif part.type == "multipart":
            out.append(b"(")
            tail = b" " + _name(part.subtype, lean)
            if extensions:
                tail += b" " + own.params + own.tail
            stack.append(tail + b")")
            stack += reversed(part.children)
        else:
            out.append(
                b"(%b %b %b %b %b %b %d %b "
                % (
                    _name(part.type, lean),
                    _name(part.subtype, lean),
                    own.params,
                    own.id,
                    own.description,
                    _name(part.encoding, lean),
                    part.end - part.body,
                    own.envelope,
                )
            )
            tail = b" %d" % part.lines
            if extensions:
                tail += b" " + own.md5 + own.tail
            stack.append(tail + b")")
            stack.append(part.children[0])
        size += len(out[-1])
        if size > MAX_BODYSTRUCTURE and not lean:  # too large already: do not build the rest
            break
    return b"".join(out)


__all__ = [
    "CONTENT_FIELDS",
    "MAX_BODYSTRUCTURE",
    "ContentFields",
    "nstring",
    "read_content_fields",
    "render_body",
    "render_leaf",
    "render_parameters",
]
