"""Messages, entries and what is handed to the store to make them.

A message is immutable content with facts; an entry is a message in a mailbox under a UID, with flags and a modseq.
Octets are kept exactly as they arrived. A blob is where octets live; readers see it through ``Octets``.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from postroom.mime.facts import Facts
from postroom.model.ids import MailboxId, MessageId, Modseq, Uid


class Octets(Protocol):
    """Read access to immutable octets, wherever they live."""

    @property
    def size(self) -> int:
        """Length in octets."""

    def read(self, offset: int, length: int) -> bytes | Awaitable[bytes]:
        """Octets from ``offset``, fewer than ``length`` only at the end; awaitable when they are not at hand.

        Raises Corrupt or Unavailable.
        """


@dataclass(slots=True, frozen=True)
class BlobRef:
    """Where a message's octets are: ``kind`` is a blob store ("inline", "files"), ``key`` means something to it.

    For an uncommitted inline blob the octets travel in ``octets`` and ``key`` is empty.
    """

    kind: str
    key: str
    size: int
    digest: bytes
    octets: bytes | None = None


@dataclass(slots=True)
class NewMessage:
    """A message about to be stored: its blob (already durable unless inline), facts, flags and dates.

    ``internal_date`` is seconds since 1970 UTC with ``zone`` in minutes east of UTC (RFC 3501 §2.3.3).
    ``envelope_from``/``envelope_to`` keep the SMTP envelope.
    """

    blob: BlobRef
    facts: Facts
    internal_date: int
    zone: int = 0
    flags: int = 0
    keywords: tuple[str, ...] = ()
    envelope_from: str | None = None
    envelope_to: str | None = None


@dataclass(slots=True)
class Entry:
    """An entry as read from the store. Built by the thousand, hence slots and not frozen."""

    uid: Uid
    message: MessageId
    flags: int
    keywords: tuple[str, ...]
    modseq: Modseq
    internal_date: int
    zone: int
    size: int


@dataclass(slots=True, frozen=True)
class EntryKey:
    """Names one entry inside an account."""

    mailbox: MailboxId
    uid: Uid
