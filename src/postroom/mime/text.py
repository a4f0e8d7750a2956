"""Decoded text of a message: what people read, search and preview (RFC 3501 §6.4.4, RFC 8970).

Purpose: text of headers and of text parts, folded so that substring search ignores case and composition.

Invariants: never raises on message octets; linear. ``fold`` works character by character, so ``a in b`` implies
``fold(a) in fold(b)``.

It must not know: indexes, queries.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from html import unescape
from typing import Final

from postroom.mime.charset import decode, guess
from postroom.mime.facts import Part
from postroom.mime.header import iter_fields, unfold_block
from postroom.mime.words import decode_words, lenient_base64

MAX_PREVIEW: Final = 200


class _FoldTable(dict[int, str]):
    """Character to folded characters, filled as needed and bounded, so that hostile text cannot make it large."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold()).lower()
        if len(self) < 16384:
            self[code] = folded
        return folded


_FOLD: Final = _FoldTable()


_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")


def _fold_run(match: re.Match[str]) -> str:
    return match[0].translate(_FOLD)


def fold(text: str) -> str:
    """Text for comparison: case folded and decomposed one character at a time (after RFC 5051 §2)."""
    if text.isascii():
        return text.lower()
    # The ASCII stretches need no table; lower() finds nothing to do in what the table gave.
    return _FOREIGN.sub(_fold_run, text).lower()


def block_text(unfolded: bytes) -> str:
    """Text of a header block that went through ``unfold_block``: a field a line, encoded-words decoded."""
    unfolded = unfolded.rstrip(b"\n")
    if b"=?" not in unfolded and unfolded.isascii():
        return unfolded.decode("ascii")
    return "\n".join([decode_words(line) for line in unfolded.split(b"\n")])


def header_block(octets: bytes, part: Part) -> bytes:
    """The octets of a part's header, blank line included."""
    return octets[part.header : part.body]


def header_text(octets: bytes, name: str | bytes) -> str | None:
    """Folded text of all fields of that name in a header block, a line each; None when there is none."""
    wanted = (name.encode("utf-8", "replace") if isinstance(name, str) else name).lower()
    values = [
        decode_words(unfold_block(octets[field.value : field.end]).strip())
        for field in iter_fields(octets)
        if field.name == wanted
    ]
    return fold("\n".join(values)) if values else None


def strip_html(markup: str) -> str:
    """The text between tags; the insides of script and style are left out. Crude, and linear whatever the markup."""
    pieces = markup.split("<")
    out = [pieces[0]]
    skipping = ""
    for piece in pieces[1:]:
        tag, closed, text = piece.partition(">")
        word = tag[:7].lower()
        if skipping:
            if not word.startswith(skipping):
                continue
            skipping = ""
        elif word.startswith("script"):
            skipping = "/script"
            continue
        elif word.startswith("style"):
            skipping = "/style"
            continue
        if closed:
            out.append(text)
        elif tag and not (tag[0].isalpha() or tag[0] in "/!?"):
            out.append("<" + piece)
    text = " ".join(out)
    if "&" not in text:
        return text
    try:
        return unescape(text)
    except ValueError:  # a character reference with thousands of digits
        return text


def decode_transfer(raw: bytes, encoding: str) -> bytes:
    """Octets behind a content transfer encoding; unknown encodings are shown as they are (RFC 2045 §6)."""
    if encoding == "base64":
        return lenient_base64(raw)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    return raw


def leaf_text(raw: bytes, part: Part) -> str:
    """Text of a leaf part's body octets: transfer encoding, charset, tags undone; line ends LF."""
    text = decode(decode_transfer(raw, part.encoding), part.params.get("charset", ""))
    if part.subtype == "html":
        text = strip_html(text)
    return text.replace("\r\n", "\n") if "\r" in text else text


def has_text(part: Part) -> bool:
    """Whether a part's body is text that a person may search: text/* and reports like message/delivery-status."""
    return part.type == "text" or (part.type == "message" and not part.children)


def part_text(octets: bytes, part: Part) -> str:
    """Decoded text of one part's body; empty for parts that are not text. ``octets`` is the whole message."""
    return leaf_text(octets[part.body : part.end], part) if has_text(part) else ""


def _pieces(octets: bytes, root: Part, with_header: bool) -> list[str]:
    """Headers and texts in order of appearance, without the root's header unless asked for."""
    pieces: list[str] = []
    stack = [root]
    while stack:
        part = stack.pop()
        if part is not root or with_header:
            pieces.append(block_text(unfold_block(header_block(octets, part))))
        if part.children:
            stack += reversed(part.children)
        elif has_text(part):
            pieces.append(part_text(octets, part))
    return pieces


def search_text(octets: bytes, root: Part) -> str:
    """Folded text of header and body: what IMAP's SEARCH TEXT looks into (RFC 3501 §6.4.4)."""
    return fold("\n".join(_pieces(octets, root, with_header=True)))


def body_text(octets: bytes, root: Part) -> str:
    """Folded text of the body, headers of its parts included: what SEARCH BODY looks into (RFC 3501 §6.4.4)."""
    return fold("\n".join(_pieces(octets, root, with_header=False)))


def preview(text: str) -> str:
    """The first words of a text, white space made single, at most MAX_PREVIEW characters (RFC 8970 §3)."""
    words = " ".join(text[: MAX_PREVIEW * 2].split())
    if len(words) < MAX_PREVIEW:
        words = " ".join(text[: MAX_PREVIEW * 20].split())
    return words[:MAX_PREVIEW].rstrip()


__all__ = [
    "MAX_PREVIEW",
    "block_text",
    "body_text",
    "fold",
    "guess",
    "has_text",
    "header_text",
    "leaf_text",
    "part_text",
    "preview",
    "search_text",
    "strip_html",
]
