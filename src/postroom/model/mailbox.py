"""Mailboxes as the store and the sessions see them.

Invariants: names are NFC-normalised str with ``/`` as the hierarchy separator, never a path on disk; INBOX is always
spelled ``INBOX``. ``uid_next`` is above every UID ever given in the mailbox; counters always equal a recount.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from postroom.model.ids import MailboxId, Modseq, Uid, UidValidity

SEPARATOR: Final = "/"
INBOX: Final = "INBOX"
MAX_NAME_OCTETS: Final = 1000
MAX_DEPTH: Final = 20


class SpecialUse(StrEnum):
    """Special-use attributes a mailbox can carry (RFC 6154 §2); value is the IMAP spelling."""

    ARCHIVE = "\\Archive"
    DRAFTS = "\\Drafts"
    JUNK = "\\Junk"
    SENT = "\\Sent"
    TRASH = "\\Trash"
    FLAGGED = "\\Flagged"
    ALL = "\\All"


DEFAULT_MAILBOXES: Final[tuple[tuple[str, SpecialUse | None], ...]] = (
    (INBOX, None),
    ("Sent", SpecialUse.SENT),
    ("Drafts", SpecialUse.DRAFTS),
    ("Trash", SpecialUse.TRASH),
    ("Junk", SpecialUse.JUNK),
    ("Archive", SpecialUse.ARCHIVE),
)


@dataclass(slots=True)
class Mailbox:
    """A mailbox row with its counters, all read in one short read; O(1) whatever the mailbox holds.

    ``selectable`` is False for a name that exists only because it has children (\\NoSelect after DELETE).
    ``recent_from`` is the lowest UID no read-write session has been told of as \\Recent yet.
    ``octets`` sums RFC822.SIZE; ``deleted`` counts entries with \\Deleted, ``unseen`` those without \\Seen.
    ``created`` is the modseq the mailbox was made under. ``keywords`` are those in use or once used, as first spelled.
    ``highest_modseq`` is the modseq of the last change to any entry of the mailbox (RFC 7162 §3.1.2).
    """

    id: MailboxId
    name: str
    uid_validity: UidValidity
    uid_next: Uid
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    octets: int = 0
    recent_from: Uid = Uid(1)
    highest_modseq: Modseq = Modseq(1)
    created: Modseq = Modseq(1)
    subscribed: bool = False
    selectable: bool = True
    special_use: SpecialUse | None = None
    keywords: tuple[str, ...] = ()
