"""Names in the directory: which are acceptable, and the one form they are kept and looked up in.

Invariants: a canonical name is UTF-8 in NFC and lower case, ``local@domain`` or a domain; domains are U-labels (a label
in Punycode is decoded), so both spellings of an internationalised domain meet. Checking a name never raises anything but
InvalidName and costs linear time whatever the input; lookups turn unacceptable names into "nobody".
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from postroom.model.errors import InvalidName

MAX_NAME_OCTETS: Final = 254
"""RFC 5321 §4.5.3.1.3: a path has 256 octets with its angle brackets."""
MAX_LOCAL_OCTETS: Final = 64
"""RFC 5321 §4.5.3.1.1."""
MAX_DOMAIN_OCTETS: Final = 253
DELIMITER: Final = "+"
"""Between a mailbox name and its sub-address (RFC 5233 §1)."""

_LOCAL_ASCII: Final = re.compile(r"[a-z0-9#$&'*+/=?^_{}~.-]+")
"""Dot-string of RFC 5321 §4.1.2 without what once was routing or reaches a shell: ``%``, ``!``, ``|`` and the backtick."""
_LABEL_ASCII: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LETTERS: Final = frozenset("LMN")
_MORE_THAN_ANY: Final = 1024


def _fold(text: str) -> str:
    """NFC in lower case. Raises InvalidName for compatibility characters (a full-width letter, a ligature), which SASLprep
    would turn into others: two accounts must not look and log in alike."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    if unicodedata.normalize("NFKC", folded) != folded:
        raise InvalidName("The name has compatibility characters")
    return folded


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _beyond_ascii(text: str) -> bool:
    """Whether every character beyond ASCII is a letter, mark or number."""
    return all(c < "\x80" or unicodedata.category(c)[0] in _LETTERS for c in text)


def canonical_domain(text: str) -> str:
    """The form a domain is kept in. Raises InvalidName."""
    if len(text) > _MORE_THAN_ANY:
        raise InvalidName("The domain is too long")
    folded = _fold(text)
    labels = [_canonical_label(label) for label in folded.split(".")]
    name = ".".join(labels)
    if _octets(name) > MAX_DOMAIN_OCTETS:
        raise InvalidName("The domain is too long")
    return name


def _canonical_label(label: str) -> str:
    if label.startswith("xn--"):
        try:
            label = _fold(label[4:].encode("ascii").decode("punycode"))
        except (UnicodeError, ValueError, OverflowError) as error:
            raise InvalidName("The domain has a label in broken Punycode") from error
        if label.isascii():
            raise InvalidName("The domain has a label in Punycode that needs none")
    ascii_part = "".join("x" if c >= "\x80" else c for c in label)
    if not _LABEL_ASCII.fullmatch(ascii_part) or not _beyond_ascii(label):
        raise InvalidName("A domain consists of labels of letters, digits and inner hyphens")
    return label


def canonical_local(text: str) -> str:
    """The form a local part is kept in. Raises InvalidName."""
    if len(text) > _MORE_THAN_ANY:
        raise InvalidName("The local part is too long")
    folded = _fold(text)
    if not folded or _octets(folded) > MAX_LOCAL_OCTETS:
        raise InvalidName(f"A local part has 1 to {MAX_LOCAL_OCTETS} octets")
    ascii_part = "".join("x" if c >= "\x80" else c for c in folded)
    if not _LOCAL_ASCII.fullmatch(ascii_part) or not _beyond_ascii(folded):
        raise InvalidName("A local part consists of letters, digits and #$&'*+-/=?^_{}~.")
    if folded[0] == "." or folded[-1] == "." or ".." in folded:
        raise InvalidName("A local part has no dot at its ends and no two in a row")
    return folded


def canonical_address(text: str) -> str:
    """``local@domain`` in the form it is kept in. Raises InvalidName."""
    local, at, domain = text.rpartition("@")
    if not at:
        raise InvalidName("An address is written local@domain")
    name = f"{canonical_local(local)}@{canonical_domain(domain)}"
    if _octets(name) > MAX_NAME_OCTETS:
        raise InvalidName("The address is too long")
    return name


def find_domain(text: str) -> str | None:
    """``canonical_domain`` for lookups: None for what cannot be a domain here."""
    try:
        return canonical_domain(text)
    except InvalidName:
        return None


def find_address(text: str) -> str | None:
    """``canonical_address`` for lookups: None for what cannot be an address here."""
    return _find_short(text) if len(text) <= _MORE_THAN_ANY else None


@lru_cache(maxsize=4096)
def _find_short(text: str) -> str | None:
    """The same few thousand names are asked for again and again."""
    try:
        return canonical_address(text)
    except InvalidName:
        return None


def without_detail(local: str, delimiter: str = DELIMITER) -> tuple[str, str] | None:
    """Split ``user+detail`` into its two parts (RFC 5233 §1), None when there is no sub-address; an empty delimiter turns
    sub-addresses off."""
    if not delimiter:
        return None
    user, found, detail = local.partition(delimiter)
    if not found or not user:
        return None
    return user, detail
