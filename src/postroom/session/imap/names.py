"""Mailbox names that IMAP can create, and the patterns of LIST.

What a name may be is the store's rule (``store.mailbox_names``); here is only what IMAP adds to it. Matching a pattern costs
O(name · pattern) and never backtracks.
"""

from __future__ import annotations

from typing import Final

from postroom.model.errors import InvalidName
from postroom.model.mailbox import SEPARATOR
from postroom.store.mailbox_names import new_name, normalise_name

MAX_PATTERN: Final = 1000
_FORBIDDEN: Final = frozenset("*%\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
"""Wildcards (a name that holds one cannot be asked for), and overrides that make a name look like another."""


def canonical(name: str) -> str:
    """The name as the store knows it, nothing checked."""
    return normalise_name(name)


def checked(name: str) -> str:
    """A name to create, rename to or subscribe. Raises InvalidName."""
    name = new_name(name)
    if not _FORBIDDEN.isdisjoint(name):
        raise InvalidName("Mailbox name has a character that is not allowed")
    return name


class Pattern:
    """A LIST pattern: ``*`` matches anything, ``%`` anything without the separator (RFC 3501 §6.3.8)."""

    __slots__ = ("_pieces", "text")

    def __init__(self, reference: str, pattern: str) -> None:
        """The reference is put in front of the pattern. Raises InvalidName for one that is too long."""
        self.text = normalise_name(reference + pattern)
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
        pieces = self._pieces
        reached = self._skip({0})
        for char in name:
            step: set[int] = set()
            for at in reached:
                if at == len(pieces):
                    continue
                piece = pieces[at]
                if piece == "*" or (piece == "%" and char != SEPARATOR):
                    step.add(at)
                elif piece == char:
                    step.add(at + 1)
            if not step:
                return False
            reached = self._skip(step)
        return len(pieces) in reached

    def _skip(self, reached: set[int]) -> set[int]:
        """Also what is reached by letting wildcards match nothing."""
        for at in list(reached):
            while at < len(self._pieces) and self._pieces[at] in "*%":
                at += 1
                reached.add(at)
        return reached
