"""Mailbox names: which are acceptable, and what they are normalised to. Shared by the engines.

Invariants: names are str, NFC, with ``/`` between levels; INBOX (and as the first level of others) in any case is ``INBOX``.
A name never becomes a path on disk, yet names that look like path tricks are refused all the same.

It must not know: engines, wire encodings of names.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from postroom.model.errors import InvalidName
from postroom.model.mailbox import INBOX, MAX_DEPTH, MAX_NAME_OCTETS, SEPARATOR

MAX_MAILBOXES: Final = 10_000
"""Mailboxes of one account, superior names included."""


def normalise_name(name: str) -> str:
    """The spelling the store keeps, for look-ups: NFC, INBOX in capitals. Never raises."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    first, separator, rest = name.partition(SEPARATOR)
    if len(first) == len(INBOX) and first.upper() == INBOX:
        return INBOX + separator + rest
    return name


def new_name(name: str) -> str:
    """The normalised name of a mailbox to be made; one ``/`` at the end says only that inferior names will follow
    (RFC 3501 §6.3.3). Raises InvalidName."""
    try:
        octets = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidName(private="surrogates in a mailbox name") from error
    if octets > MAX_NAME_OCTETS:
        raise InvalidName("Mailbox name too long")
    name = normalise_name(name.removesuffix(SEPARATOR))
    levels = name.split(SEPARATOR)
    if len(levels) > MAX_DEPTH:
        raise InvalidName("Mailbox hierarchy too deep")
    if len(name.encode("utf-8")) > MAX_NAME_OCTETS:
        raise InvalidName("Mailbox name too long")  # NFC may lengthen
    for level in levels:
        if not level:
            raise InvalidName("Empty level in a mailbox name")
        if level in {".", ".."}:
            raise InvalidName
        if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in level):
            raise InvalidName("Control character in a mailbox name")
    return name


def superior_names(name: str) -> list[str]:
    """``a/b/c`` has ``a`` and ``a/b``, outermost first."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels))]
