"""Macros of SPF (RFC 7208 §7).

Invariants: parsing finds every mistake; expansion cannot fail. What is expanded for a domain is at most 253 characters (§7.3).

It must not know: the DNS; what a macro stands for is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

LONGEST_DOMAIN: Final = 253
_MACRO: Final = re.compile(r"\{([slodiphcrtv])(\d*)(r?)([.\-+,/_=]*)\}", re.IGNORECASE)
_ESCAPES: Final = {"%": "%", "_": " ", "-": "%20"}
_FOR_EXPLANATIONS: Final = frozenset("crt")


class MacroError(Exception):
    """The text breaks the grammar."""


@dataclass(slots=True, frozen=True)
class Macro:
    """``letter`` in lower case; ``escaped`` for a capital (§7.3); ``keep`` labels from the right, 0 for all."""

    letter: str
    escaped: bool
    keep: int
    reverse: bool
    delimiters: str


@dataclass(slots=True, frozen=True)
class MacroString:
    """Literals and macros in turn; ``text`` as it was written."""

    pieces: tuple[str | Macro, ...]
    text: str

    @property
    def letters(self) -> set[str]:
        """Of the macros in it."""
        return {piece.letter for piece in self.pieces if isinstance(piece, Macro)}

    def expand(self, values: Mapping[str, str]) -> str:
        """Every macro replaced by its value, transformed."""
        return "".join(
            piece if isinstance(piece, str) else _transform(piece, values[piece.letter])
            for piece in self.pieces
        )

    def domain(self, values: Mapping[str, str]) -> str:
        """The same for a domain: what is too long loses labels from the left (§7.3), a final dot goes."""
        name = self.expand(values).removesuffix(".")
        while len(name) > LONGEST_DOMAIN:
            _, dot, name = name.partition(".")
            if not dot:
                return ""
        return name


def parse_macros(text: str, *, explaining: bool = False) -> MacroString:
    """macro-string; with ``explaining`` spaces and the letters c, r and t may appear (§7.2). Raises MacroError."""
    pieces: list[str | Macro] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char != "%":
            if not ("!" <= char <= "~" or (explaining and char == " ")):
                raise MacroError(f"{char!r} may not appear")
            literal.append(char)
            at += 1
            continue
        escape = _ESCAPES.get(text[at + 1 : at + 2])
        if escape is not None:
            literal.append(escape)
            at += 2
            continue
        found = _MACRO.match(text, at + 1)
        if found is None:
            raise MacroError(f"no macro behind the percent sign of {text!r}")
        if literal:
            pieces.append("".join(literal))
            literal.clear()
        pieces.append(_macro(found, explaining))
        at = found.end()
    if literal:
        pieces.append("".join(literal))
    return MacroString(tuple(pieces), text)


def _macro(found: re.Match[str], explaining: bool) -> Macro:
    letter = found[1].lower()
    if letter in _FOR_EXPLANATIONS and not explaining:
        raise MacroError(f"%{{{found[1]}}} is for explanations")
    keep = int(found[2][:9]) if found[2] else 0
    if found[2] and not keep:
        raise MacroError("no labels to keep")
    return Macro(letter, found[1].isupper(), keep, bool(found[3]), found[4] or ".")


def _transform(macro: Macro, value: str) -> str:
    if macro.keep or macro.reverse or macro.delimiters != ".":
        parts = re.split(f"[{re.escape(macro.delimiters)}]", value)
        if macro.reverse:
            parts.reverse()
        value = ".".join(parts[-macro.keep :] if macro.keep else parts)
    return quote(value, safe="-._~") if macro.escaped else value
