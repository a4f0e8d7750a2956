"""Mailbox names and patterns as this server takes them.

Invariants: a name is NFC, has no empty level, no control character, no ``.``/``..`` level, at most MAX_NAME_OCTETS octets
of UTF-8 and MAX_DEPTH levels; INBOX in any case is INBOX. Matching a pattern costs O(name · pattern) and never backtracks.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from postroom.model.errors import InvalidName
from postroom.model.mailbox import INBOX, MAX_DEPTH, MAX_NAME_OCTETS, SEPARATOR

MAX_PATTERN: Final = 1000
_FORBIDDEN: Final = frozenset("*%\u2028\u2029\u202e\u202d\u2066\u2067\u2068")
"""Wildcards (a name that holds one cannot be asked for), line separators, and overrides that make a name look like another."""


def canonical(name: str) -> str:
    """The name as the store knows it, nothing checked: NFC, INBOX and its children in capitals."""
    name = unicodedata.normalize("NFC", name)
    if name[:5].upper() == INBOX and name[:5].isascii() and (len(name) == 5 or name[5] == SEPARATOR):
        return INBOX + name[5:]
    return name


def checked(name: str) -> str:
    """A name to create or rename to, canonical; one trailing separator is dropped (RFC 3501 §6.3.3). Raises InvalidName."""
    name = canonical(name)
    if name.endswith(SEPARATOR):
        name = name[:-1]
    levels = name.split(SEPARATOR)
    if not name or "" in levels:
        raise InvalidName("Mailbox name has an empty level")
    if len(levels) > MAX_DEPTH:
        raise InvalidName("Mailbox name has too many levels")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_OCTETS:
        raise InvalidName("Mailbox name is too long")
    if "." in levels or ".." in levels:
        raise InvalidName("Mailbox name not allowed")
    if any(unicodedata.category(char) in {"Cc", "Cs"} or char in _FORBIDDEN for char in name):
        raise InvalidName("Mailbox name has a character that is not allowed")
    return name


class Pattern:
    """A LIST pattern: ``*`` matches anything, ``%`` anything without the separator (RFC 3501 §6.3.8)."""

    __slots__ = ("_pieces", "text")

    def __init__(self, reference: str, pattern: str) -> None:
        """The reference is put in front of the pattern. Raises InvalidName for one that is too long."""
        self.text = canonical(reference + pattern)
        if len(self.text) > MAX_PATTERN:
            raise InvalidName("Pattern too long")
        # Neighbouring wildcards mean no more than the strongest of them: without this `%*%*%*...` would cost much.
        pieces: list[str] = []
        for char in self.text:
            if char in "*%" and pieces and pieces[-1] in "*%":
                if char == "*":
                    pieces[-1] = "*"
                continue
            pieces.append(char)
        self._pieces = pieces

    def matches(self, name: str) -> bool:
        """Whether the whole name matches; the set of reached positions is carried along, so nothing is tried twice."""
        reached = self._close({0})
        for char in name:
            step: set[int] = set()
            for at in reached:
                if at == len(self._pieces):
                    continue
                piece = self._pieces[at]
                if piece == "*" or (piece == "%" and char != SEPARATOR):
                    step.add(at)
                elif piece == char:
                    step.add(at + 1)
            if not step:
                return False
            reached = self._close(step)
        return len(self._pieces) in reached

    def _close(self, reached: set[int]) -> set[int]:
        """Also what is reached by letting wildcards match nothing."""
        for at in list(reached):
            while at < len(self._pieces) and self._pieces[at] in "*%":
                at += 1
                reached.add(at)
        return reached


def superiors(name: str) -> list[str]:
    """The names above, outermost first."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels))]
