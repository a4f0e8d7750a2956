"""Encoded-words: text other than ASCII in header fields (RFC 2047).

Purpose: decode what senders write, with their habits, and encode text into ASCII.

Invariants: decoding never raises, is linear, and decodes at most ``MAX_WORDS`` words of a field (the rest stays as
written). Encoding gives printable ASCII without line ends; every word has at most 75 characters (RFC 2047 §2).

It must not know: which field it reads.
"""

from __future__ import annotations

import binascii
import re
from itertools import islice
from typing import Final

from postroom.mime.charset import decode, guess

MAX_WORDS: Final = 500

# Each attempt looks at most four question marks ahead, so a search over a field is linear.
_WORD: Final = re.compile(rb"=\?([^\s?]+)\?([bBqQ])\?([^?]*)\?=")
_NOT_BASE64: Final = bytes(
    sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
)


def lenient_base64(raw: bytes) -> bytes:
    """Octets of base64 text; foreign characters are skipped, missing padding is forgiven (RFC 2045 §6.8)."""
    try:
        return binascii.a2b_base64(raw)
    except binascii.Error:
        kept = raw.translate(None, _NOT_BASE64)
        if len(kept) % 4 == 1:
            kept = kept[:-1]
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


def _word_octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"bB":
        return lenient_base64(text)
    return binascii.a2b_qp(text, header=True)


def decode_words(value: bytes) -> str:
    """The text of an unfolded field value, encoded-words decoded (RFC 2047 §6.2).

    White space between two encoded-words disappears; words of one charset are joined before decoding, because senders
    cut characters in two. Octets outside ASCII are guessed (RFC 6532 says UTF-8; old senders say nothing).
    """
    if b"=?" not in value:
        return guess(value)
    out: list[str] = []
    run: list[bytes] = []
    run_charset = ""
    pos = 0
    for match in islice(_WORD.finditer(value), MAX_WORDS):
        gap = value[pos : match.start()]
        charset = match[1].partition(b"*")[0].decode("latin-1").lower()  # RFC 2231 §5: charset*language
        if gap.strip() or pos == 0:
            if run:
                out.append(decode(b"".join(run), run_charset))
                run.clear()
            out.append(guess(gap))
        elif run and charset != run_charset:
            out.append(decode(b"".join(run), run_charset))
            run.clear()
        run_charset = charset
        run.append(_word_octets(match[2], match[3]))
        pos = match.end()
    if run:
        out.append(decode(b"".join(run), run_charset))
    out.append(guess(value[pos:]))
    return "".join(out)


_Q_SAFE: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)  # RFC 2047 §5 (3)
_Q_TABLE: Final = [chr(o) if o in _Q_SAFE else "_" if o == 0x20 else f"={o:02X}" for o in range(256)]


def encode_words(text: str) -> bytes:
    """Text as encoded-words in UTF-8, separated by spaces, usable in unstructured text and in a phrase (RFC 2047 §5)."""
    raw = text.encode("utf-8", "replace")
    words: list[bytes] = []
    if (len(raw) - len(text)) * 3 < len(raw):  # mostly ASCII: Q stays legible
        line: list[str] = []
        width = 0
        for (
            char
        ) in text:  # one step per character of a short field, written only for messages that break RFC 5322
            piece = "".join([_Q_TABLE[o] for o in char.encode("utf-8", "replace")])
            if width + len(piece) > 60:
                words.append(("=?utf-8?Q?" + "".join(line) + "?=").encode("ascii"))
                line, width = [], 0
            line.append(piece)
            width += len(piece)
        words.append(("=?utf-8?Q?" + "".join(line) + "?=").encode("ascii"))
        return b" ".join(words)
    pos = 0
    while pos < len(raw):
        end = min(pos + 42, len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:  # do not cut a character in two (RFC 2047 §5)
            end -= 1
        words.append(b"=?utf-8?B?" + binascii.b2a_base64(raw[pos:end], newline=False) + b"?=")
        pos = end
    return b" ".join(words)


def to_ascii(value: bytes) -> bytes:
    """A field value as pure ASCII: stretches of words with octets over 127 become encoded-words, the rest stays."""
    if value.isascii():
        return value
    out: list[bytes] = []
    run: list[bytes] = []
    for token in value.split(b" "):
        if token.isascii():
            if run:
                out.append(encode_words(guess(b" ".join(run))))
                run.clear()
            out.append(token)
        else:
            run.append(token)
    if run:
        out.append(encode_words(guess(b" ".join(run))))
    return b" ".join(out)
