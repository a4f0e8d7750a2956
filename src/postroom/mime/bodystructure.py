"""IMAP's BODY and BODYSTRUCTURE, rendered (RFC 3501 §7.4.2, §9 body).

Invariants: pure ASCII, balanced, made without recursion, at most ``MAX_BODYSTRUCTURE`` octets: a tree whose full form is
larger is rendered lean, with everything optional NIL and long names replaced. Every multipart has at least one part and
every message/rfc822 its message, because the scanner makes no others and the grammar has no word for them.

It must not know: where the message is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postroom.mime.envelope import EMPTY_ENVELOPE
from postroom.mime.facts import Part
from postroom.mime.nstring import NIL, quoted
from postroom.mime.parameters import Parameterised, parse_parameterised, strip_comments

TEXT_PLAIN: Final = b'"text" "plain" NIL'
OPAQUE: Final = b'"application" "octet-stream" NIL'
MAX_BODYSTRUCTURE: Final = 1 << 20
_MAX_TEXT: Final = 1 << 15
_MAX_NAME: Final = 20
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
OPTIONAL_FIELDS: Final = CONTENT_FIELDS - {b"content-type", b"content-transfer-encoding"}


@dataclass(slots=True)
class ContentFields:
    """Rendered pieces of one part's header, kept beside the Part. ``envelope`` is that of the message inside."""

    type: bytes = TEXT_PLAIN
    """type, subtype and parameters"""
    encoding: bytes = b'"7bit"'
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
    if not parsed.main and not parsed.wire:
        return NIL
    kind = parsed.main or "attachment"  # what is not understood counts as attachment (RFC 2183 §2.8)
    return b"(%b %b)" % (_name(kind[:_MAX_TEXT]), render_parameters(parsed.wire))


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


def render_type(kind: str, subtype: str, params: bytes) -> bytes:
    """The first three items of a body."""
    return b"%b %b %b" % (_name(kind), _name(subtype), params)


@lru_cache(maxsize=64)
def render_encoding(encoding: str) -> bytes:
    """The transfer encoding as IMAP shows it."""
    return _name(encoding)


def _name(text: str) -> bytes:
    return quoted(text.encode("ascii", "replace"))


def _lean(part: Part) -> ContentFields:
    """Nothing optional, and no long names."""
    kind, subtype = part.type, part.subtype
    if len(kind) > _MAX_NAME:
        kind, subtype = "application", "octet-stream"
    elif len(subtype) > _MAX_NAME:
        subtype = {"text": "plain", "multipart": "mixed"}.get(kind, "octet-stream")
    return ContentFields(
        render_type(kind, subtype, NIL), _name(part.encoding if len(part.encoding) <= _MAX_NAME else "7bit")
    )


def render_body(root: Part, fields: Sequence[ContentFields]) -> tuple[bytes, bytes]:
    """BODY and BODYSTRUCTURE of a tree; ``fields`` are those of its parts in order of appearance."""
    if not root.children:
        short, full = _render_leaf(root, fields[0])
    else:
        short, full = _render_tree(root, fields)
    if len(full) > MAX_BODYSTRUCTURE:
        short, full = _render_tree(root, None)
    if (
        len(full) > MAX_BODYSTRUCTURE
    ):  # a tree whose lean form is too large has no form: sizes of many digits only
        opaque = Part("application", "octet-stream", root.header, root.body, root.end, root.lines)
        short, full = _render_leaf(opaque, ContentFields(OPAQUE))
    return short, full


def _render_leaf(part: Part, own: ContentFields) -> tuple[bytes, bytes]:
    """A part without parts of its own (RFC 3501 §9 body-type-basic, body-type-text)."""
    if part.type == "text":
        head = b"(%b %b %b %b %d %d" % (
            own.type,
            own.id,
            own.description,
            own.encoding,
            part.end - part.body,
            part.lines,
        )
    else:
        head = b"(%b %b %b %b %d" % (own.type, own.id, own.description, own.encoding, part.end - part.body)
    return head + b")", b"%b %b%b)" % (head, own.md5, own.tail)


def _render_tree(root: Part, fields: Sequence[ContentFields] | None) -> tuple[bytes, bytes]:
    """Both forms in one walk that visits containers twice: before and behind their children. No fields: lean."""
    short: list[bytes] = []
    full: list[bytes] = []
    index = size = 0
    stack: list[Part | tuple[bytes, bytes]] = [root]
    while stack:
        part = stack.pop()
        if isinstance(part, tuple):
            short.append(part[0])
            full.append(part[1])
            continue
        own = _lean(part) if fields is None else fields[index]
        index += 1
        if not part.children:
            one, other = _render_leaf(part, own)
        elif part.type == "multipart":
            one = other = b"("
            _, subtype, params = own.type.split(b" ", 2)
            stack.append((b" %b)" % subtype, b" %b %b%b)" % (subtype, params, own.tail)))
            stack += reversed(part.children)
        else:
            one = other = b"(%b %b %b %b %d %b " % (
                own.type,
                own.id,
                own.description,
                own.encoding,
                part.end - part.body,
                own.envelope,
            )
            stack.append((b" %d)" % part.lines, b" %d %b%b)" % (part.lines, own.md5, own.tail)))
            stack.append(part.children[0])
        short.append(one)
        full.append(other)
        size += len(other)
        if size > MAX_BODYSTRUCTURE and fields is not None:  # too large already: the rest need not be built
            break
    return b"".join(short), b"".join(full)
