"""A message on its way into or out of an archive, and what all formats share."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from typing import Final

from postroom.model.flags import SystemFlag

MAX_MESSAGE: Final = 1024 * 1024 * 1024
"""Octets beyond which no archive is believed."""


@dataclass(slots=True)
class ArchivedMessage:
    """One message of an archive.

    ``folder`` is the mailbox name inside the archive, ``/`` between levels, empty for the archive's own root. ``key``
    names the message inside the archive and stays the same from one reading to the next. ``internal_date`` is in seconds
    since 1970 UTC, None when the archive does not tell; ``zone`` in minutes east of UTC.
    """

    folder: str
    key: str
    octets: bytes
    internal_date: int | None
    zone: int = 0
    flags: SystemFlag = SystemFlag.NONE
    keywords: tuple[str, ...] = ()


@dataclass(slots=True)
class Skipped:
    """A message that could not be read, and why."""

    folder: str
    key: str
    reason: str


Item = ArchivedMessage | Skipped


def with_mail_line_ends(octets: bytes) -> bytes:
    """Lines that end in CRLF: unchanged when the first one does, so that what mail systems wrote stays octet for octet."""
    first = octets.find(b"\n")
    if first < 0 or octets[first - 1 : first] == b"\r":
        return octets
    if b"\r\n" in octets:
        octets = octets.replace(b"\r\n", b"\n")
    return octets.replace(b"\n", b"\r\n")


def header_date(octets: bytes) -> int | None:
    """When the message says it was written, for archives that do not tell when it came."""
    end = octets.find(b"\r\n\r\n")
    header = octets[: 65_536 if end < 0 else min(end, 65_536)]
    for line in header.split(b"\r\n"):
        if line[:5].lower() == b"date:":
            try:
                return int(
                    email.utils.parsedate_to_datetime(line[5:200].decode("ascii", "replace")).timestamp()
                )
            except (ValueError, OverflowError, IndexError, TypeError):
                return None
    return None
