"""The extensions a server announces: one row each, from which EHLO is written (RFC 5321 §4.1.1.1).

Purpose: adding an extension adds a row here; EHLO, the documentation's table and the tests follow.

Invariants: what a row's ``announce`` returns is announced now, on this connection; nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True, frozen=True)
class Offers:
    """What this connection offers at the moment: ``starttls`` only before TLS, ``mechanisms`` only where authentication
    may take place, ``size`` is the limit of a message in octets (0 for none)."""

    size: int = 0
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class Extension:
    """A row: the line that announces it, or None when it is not offered."""

    keyword: str
    standard: str
    announce: Callable[[Offers], str | None]


def _always(line: str) -> Callable[[Offers], str | None]:
    return lambda _offers: line


EXTENSIONS: Final[tuple[Extension, ...]] = (
    Extension("PIPELINING", "RFC 2920", _always("PIPELINING")),
    Extension("SIZE", "RFC 1870", lambda offers: f"SIZE {offers.size}"),
    Extension("8BITMIME", "RFC 6152", _always("8BITMIME")),
    Extension("SMTPUTF8", "RFC 6531", _always("SMTPUTF8")),
    Extension("ENHANCEDSTATUSCODES", "RFC 2034", _always("ENHANCEDSTATUSCODES")),
    Extension("CHUNKING", "RFC 3030", _always("CHUNKING")),
    Extension("BINARYMIME", "RFC 3030", _always("BINARYMIME")),
    Extension("STARTTLS", "RFC 3207", lambda offers: "STARTTLS" if offers.starttls else None),
    Extension(
        "AUTH",
        "RFC 4954",
        lambda offers: "AUTH " + " ".join(offers.mechanisms) if offers.mechanisms else None,
    ),
    Extension("HELP", "RFC 5321", _always("HELP")),
)


def announcements(offers: Offers) -> tuple[str, ...]:
    """The lines of the EHLO reply behind the first."""
    lines = (extension.announce(offers) for extension in EXTENSIONS)
    return tuple(line for line in lines if line is not None)


def parse_announcements(lines: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What a client makes of them: keywords in upper case with their parameters."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        # quirk: servers that write AUTH=LOGIN for clients of the nineties
        words = line.replace("=", " ", 1).split() if line[:5].upper() == "AUTH=" else line.split()
        if words:
            keyword = words[0].upper()
            found[keyword] = found.get(keyword, ()) + tuple(words[1:])
    return found
