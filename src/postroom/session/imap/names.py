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

    __slots__ = ("_final", "_literal", "_percents", "_places", "_stars", "text")

    def __init__(self, reference: str, pattern: str) -> None:
        """The reference is put in front of the pattern. Raises InvalidName for one that is too long."""
        self.text = normalise_name(reference + pattern)
        if len(self.text) > MAX_PATTERN:
            raise InvalidName("Pattern too long")
        # Each place of the pattern is a bit, and a set of places reached is a number. Of neighbouring wildcards only the
        # strongest is kept: so one shift is enough to step over those that match nothing.
        pieces = ""
        for char in self.text:
            if char in "*%" and pieces and pieces[-1] in "*%":
                if char == "*":
                    pieces = pieces[:-1] + "*"
                continue
            pieces += char
        self._places: dict[str, int] = {}
        for at, char in enumerate(pieces):
            self._places[char] = self._places.get(char, 0) | 1 << at
        self._stars = self._places.pop("*", 0)
        self._percents = self._places.pop("%", 0)
        self._final = 1 << len(pieces)
        self._literal = None if self._stars or self._percents else pieces

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        if self._literal is not None:
            return name == self._literal
        places, stars = self._places.get, self._stars
        wild = stars | self._percents
        reached = 1 | (wild & 1) << 1
        for char in name:
            stay = stars if char == SEPARATOR else wild
            reached = (reached & stay) | (reached & places(char, 0)) << 1
            if not reached:
                return False
            reached |= (reached & wild) << 1
        return bool(reached & self._final)
