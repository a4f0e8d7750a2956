"""UTF8 and LANG (RFC 6856): a session for mail in UTF-8, reply texts in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.spec import BOTH, Command, CommandSpec, Shape, State, bare, nothing

_MAX_RANGE: Final = 64
"""Octets of a language range; the longest registered tags have about 40."""


@dataclass(slots=True, frozen=True)
class Utf8(Command):
    """RFC 6856 §2.1."""


@dataclass(slots=True, frozen=True)
class Lang(Command):
    """RFC 6856 §3: a basic language range (RFC 4647 §2.1) or ``*``; None asks for the listing."""

    range: str | None = None


def _parse_lang(argument: bytes) -> Lang:
    text = argument.strip(b" ")
    if not text:
        return Lang()
    subtags = text.split(b"-")
    good = len(text) <= _MAX_RANGE and all(len(each) <= 8 and each.isalnum() for each in subtags)
    if text != b"*" and not (good and text.isascii() and subtags[0].isalpha()):
        raise ParseError("not a language range")
    return Lang(text.decode())


def _write_lang(command: Lang) -> bytes:
    return b"" if command.range is None else b" " + command.range.encode()


ROWS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(b"UTF8", Utf8, bare(Utf8()), nothing, State.AUTHORIZATION, lambda _offers: "UTF8 USER"),
    CommandSpec(
        b"LANG",
        Lang,
        _parse_lang,
        _write_lang,
        BOTH,
        lambda _offers: "LANG",
        lambda command: Shape.LISTING if command.range is None else Shape.LINE,
    ),
)
