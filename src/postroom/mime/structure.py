"""The MIME tree: finding parts by number, slicing sections, keeping it compactly.

Purpose: what IMAP's section specifiers mean in offsets (RFC 3501 §6.4.5), and octets for the store's column.

Invariants: nothing recurses; ``load_structure(dump_structure(x)) == x``; foreign or damaged octets raise ValueError.

It must not know: the message's octets; only offsets.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

from postroom.mime.facts import Part
from postroom.mime.header import header_fields

Section = Literal["", "HEADER", "TEXT", "MIME"]


def embedded(part: Part) -> Part | None:
    """The message inside a message/rfc822 part, else None."""
    return part.children[0] if part.type == "message" and part.children else None


def _walk(root: Part, path: tuple[int, ...]) -> Part | None:
    """The part at ``path``; numbers count the parts of a multipart, or are 1 for the body of a message that is none."""
    part = root
    is_message = True  # the root and every embedded message; a part of type message/rfc822 is one step above its message
    for number in path:
        if not is_message and part.type != "multipart":
            inner = embedded(part)
            if inner is None:
                return None
            part = inner
        if part.type == "multipart":
            if not 1 <= number <= len(part.children):
                return None
            part = part.children[number - 1]
        elif number != 1:
            return None
        is_message = False
    return part


def find_part(root: Part, path: tuple[int, ...]) -> Part | None:
    """The part that a section's numbers name (RFC 3501 §6.4.5); the root for no numbers; None when there is none."""
    return _walk(root, path)


def section_range(root: Part, path: tuple[int, ...], what: Section = "") -> tuple[int, int] | None:
    """Start and end offset of a section of the message, or None when it does not exist (RFC 3501 §6.4.5).

    "" is the whole message for no numbers, else the part's body; "MIME" the part's own header (needs numbers);
    "HEADER" and "TEXT" belong to the message itself or to the message inside a message/rfc822 part.
    """
    part = _walk(root, path)
    if part is None:
        return None
    if what == "MIME":
        return (part.header, part.body) if path else None
    if what == "":
        return (part.body, part.end) if path else (part.header, part.end)
    if path:
        inner = embedded(part)
        if inner is None:
            return None
        part = inner
    return (part.header, part.body) if what == "HEADER" else (part.body, part.end)


_MAGIC_32: Final = 1
_MAGIC_64: Final = 2
_FIXED_32: Final = struct.Struct("<4I2H4B")
_FIXED_64: Final = struct.Struct("<4Q2H4B")
_PARAM: Final = struct.Struct("<BH")
_CODING_CODES: Final = ("7bit", "8bit", "binary", "quoted-printable", "base64")


def dump_structure(root: Part) -> bytes:
    """Octets that ``load_structure`` reads: a version, then each part in order of appearance."""
    wide = root.end > 0xFFFFFFFF
    fixed = _FIXED_64 if wide else _FIXED_32
    out = [b"\2" if wide else b"\1"]
    stack = [root]
    while stack:
        part = stack.pop()
        kind = part.type.encode("utf-8")[:255]
        subtype = part.subtype.encode("utf-8")[:255]
        encoding = part.encoding
        code = _CODING_CODES.index(encoding) if encoding in _CODING_CODES else 255
        other = b"" if code != 255 else encoding.encode("utf-8")[:255]
        out.append(
            fixed.pack(
                part.header, part.body, part.end, part.lines,
                len(part.children), len(part.params), len(kind), len(subtype), code, len(other),
            )
        )  # fmt: skip
        out += (kind, subtype, other)
        for name, value in part.params.items():
            key, text = name.encode("utf-8")[:255], value.encode("utf-8", "surrogatepass")[:65535]
            out += (_PARAM.pack(len(key), len(text)), key, text)
        stack += reversed(part.children)
    return b"".join(out)


def load_structure(octets: bytes) -> Part:
    """The tree out of ``dump_structure``'s octets. Raises ValueError for anything else."""
    if octets[:1] not in (b"\1", b"\2"):
        raise ValueError("not a structure, or of another version")
    fixed = _FIXED_32 if octets[0] == _MAGIC_32 else _FIXED_64
    pos = 1
    root: Part | None = None
    open_parts: list[tuple[Part, int]] = []  # parent and the number of children still to come
    try:
        while root is None or open_parts:
            part, children, pos = _load_part(octets, pos, fixed)
            if root is None:
                root = part
            else:
                parent, missing = open_parts.pop()
                parent.children.append(part)
                if missing > 1:
                    open_parts.append((parent, missing - 1))
            if children:
                open_parts.append((part, children))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("damaged structure") from error
    if pos != len(octets):
        raise ValueError("damaged structure")
    return root


def message_extent(octets: bytes) -> tuple[int, int, int]:
    """``header``, ``body`` and ``end`` of the message itself out of ``dump_structure``'s octets, the tree left unread.

    Raises ValueError for anything else.
    """
    if octets[:1] not in (b"\1", b"\2"):
        raise ValueError("not a structure, or of another version")
    try:
        fixed = (_FIXED_32 if octets[0] == _MAGIC_32 else _FIXED_64).unpack_from(octets, 1)
    except struct.error as error:
        raise ValueError("damaged structure") from error
    return fixed[0], fixed[1], fixed[2]


def _load_part(octets: bytes, pos: int, fixed: struct.Struct) -> tuple[Part, int, int]:
    header, body, end, lines, children, params, kind, subtype, code, other = fixed.unpack_from(octets, pos)
    pos += fixed.size
    type_end = pos + kind
    subtype_end = type_end + subtype
    rest = subtype_end + other
    part = Part(
        octets[pos:type_end].decode("utf-8"),
        octets[type_end:subtype_end].decode("utf-8"),
        header,
        body,
        end,
        lines,
        octets[subtype_end:rest].decode("utf-8") if code == 255 else _CODING_CODES[code],
    )
    if rest > len(octets):
        raise IndexError("cut off")
    pos = rest
    for _ in range(params):
        key, text = _PARAM.unpack_from(octets, pos)
        pos += _PARAM.size
        middle, stop = pos + key, pos + key + text
        if stop > len(octets):
            raise IndexError("cut off")
        part.params[octets[pos:middle].decode("utf-8")] = octets[middle:stop].decode("utf-8", "surrogatepass")
        pos = stop
    return part, children, pos


__all__ = [
    "Section",
    "dump_structure",
    "embedded",
    "find_part",
    "header_fields",
    "load_structure",
    "message_extent",
    "section_range",
]
