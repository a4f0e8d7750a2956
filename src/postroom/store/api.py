"""The store's interface: what every engine can do.

Purpose: one set of Protocols, one conformance suite, many engines.

Invariants every engine keeps:
- A write method returns only after its commit is durable; the writes of one call are one transaction (all or nothing)
  under one modseq of the account. Commit order is modseq order; UIDs are given in the same transaction.
- Read methods are short and synchronous unless they say otherwise, and see at least every write whose method returned
  in this process.
- Quota is charged in the writing transaction (QuotaExceeded stores nothing).
- After a durable write the engine announces (account, modseq) to ``Watch``.
- An I/O error latches: from then on every write raises Unavailable and ``failed`` is set, until the process restarts.
- Message octets are returned exactly as they were given.

It must not know: protocols, sequence numbers, asyncio (an engine is given what it needs to wake its callers).

Every method may raise Unavailable (Corrupt for damaged rows) besides the errors named.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Any, Protocol, Self

from postroom.mime.facts import Facts, Part
from postroom.model.change import FlagState, MailboxChanges
from postroom.model.flags import FlagChange
from postroom.model.ids import AccountId, MailboxId, MessageId, Modseq, QueueId, Uid, UidValidity
from postroom.model.mailbox import Mailbox, SpecialUse
from postroom.model.message import BlobRef, NewMessage, Octets
from postroom.model.search import Criterion
from postroom.model.uidset import UidSet


class Column(IntEnum):
    """What ``fetch`` can be asked for; a row is a tuple of these in the order asked. The type of each is given."""

    UID = 0
    """Uid"""
    FLAGS = 1
    """int, SystemFlag bits"""
    KEYWORDS = 2
    """str: keywords joined by single spaces, empty for none"""
    MODSEQ = 3
    """Modseq"""
    INTERNAL_DATE = 4
    """int, seconds since 1970 UTC"""
    ZONE = 5
    """int, minutes east of UTC"""
    SIZE = 6
    """int, octets (RFC822.SIZE)"""
    MESSAGE = 7
    """MessageId"""
    ENVELOPE = 8
    """bytes, rendered"""
    BODY = 9
    """bytes, rendered BODY without extension data"""
    BODYSTRUCTURE = 10
    """bytes, rendered"""
    STRUCTURE = 11
    """bytes for mime.structure.load_structure"""
    OCTETS = 12
    """postroom.model.message.Octets: reader of the message's octets (small ones already in memory)"""
    PREVIEW = 13
    """str"""
    ENVELOPE_FROM = 14
    """str | None, the SMTP reverse-path it was delivered with"""
    ENVELOPE_TO = 15
    """str | None, the SMTP forward-path it was delivered with"""
    SENT = 16
    """int | None, the Date field in seconds since 1970 UTC"""
    BASE_SUBJECT = 17
    """str (RFC 5256 §2.1)"""
    MESSAGE_ID = 18
    """str, without angle brackets"""
    REFERENCES = 19
    """str: message ids without angle brackets, joined by line feeds, empty for none (RFC 5256 §3)"""
    SAVED = 20
    """int | None, when it came into this mailbox, in seconds since 1970 UTC (RFC 8514); None where that is not known"""


Row = tuple[Any, ...]
"""One row of ``fetch``: the values of the columns asked for, in that order."""


@dataclass(slots=True, frozen=True)
class Delivery:
    """One message for one account: into the mailbox ``mailbox`` (by name; INBOX when it does not exist)."""

    account: AccountId
    message: NewMessage
    mailbox: str = "INBOX"


@dataclass(slots=True, frozen=True)
class Appended:
    """Where messages went, UIDs in the order given (RFC 4315 §3 APPENDUID)."""

    mailbox: MailboxId
    uid_validity: UidValidity
    uids: UidSet
    modseq: Modseq
    claimed: tuple[Uid, Uid] | None = None
    """What ``claim_recent`` would have given, where it was asked for."""


@dataclass(slots=True, frozen=True)
class Copied:
    """Result of COPY and MOVE: ``source`` and ``target`` rise in step (RFC 4315 §3 COPYUID)."""

    uid_validity: UidValidity
    source: UidSet
    target: UidSet
    modseq: Modseq


@dataclass(slots=True, frozen=True)
class FlagsStored:
    """Result of a flag change: entries that changed with their new state (if it was asked for), those refused by
    UNCHANGEDSINCE, and in ``altered`` all that changed."""

    changed: list[FlagState]
    refused: UidSet
    modseq: Modseq
    altered: UidSet = UidSet()


@dataclass(slots=True, frozen=True)
class Expunged:
    """Result of a removal: the UIDs that went."""

    uids: UidSet
    modseq: Modseq


@dataclass(slots=True, frozen=True)
class Usage:
    """What an account holds: octets and messages counted once per entry, and its limit in octets (0 for none)."""

    octets: int
    messages: int
    quota: int


@dataclass(slots=True)
class SpoolResult:
    """A finished spool: where the octets are and what the scan found."""

    blob: BlobRef
    facts: Facts


class Spool(Protocol):
    """A message on its way in: octets are written as they come, scanned and hashed in passing.

    Memory is bounded: beyond the inline limit the octets go to a file. ``finish`` returns after they are durable (an
    inline blob becomes durable with its row). Either ``finish`` or ``abort`` must be called, once.
    """

    @property
    def size(self) -> int:
        """Octets written so far."""

    def write(self, chunk: bytes) -> Awaitable[None] | None:
        """Take octets; an awaitable asks for back-pressure. Raises StorageFull, Unavailable."""

    async def finish(self) -> SpoolResult:
        """End the message. Raises StorageFull, Unavailable."""

    def abort(self) -> None:
        """Forget everything; never raises."""


class Lease(Protocol):
    """An exclusive lock held until released; it dies with the process that holds it."""

    async def release(self) -> None:
        """Give it back; idempotent."""


@dataclass(slots=True)
class QueuedRecipient:
    """One remote recipient of a queued message; times in seconds since 1970."""

    address: str
    state: str = "pending"
    """pending, delivered or failed"""
    attempts: int = 0
    next_attempt: int = 0
    last_reply: str = ""


@dataclass(slots=True)
class QueuedMessage:
    """A message waiting to leave; ``sender`` is empty for the null reverse-path."""

    id: QueueId
    sender: str
    blob: BlobRef
    recipients: list[QueuedRecipient]
    created: int
    body: str = "7BIT"
    smtputf8: bool = False
    submitter: AccountId | None = None
    warned: bool = False


@dataclass(slots=True)
class Batch:
    """What one accepted message becomes, committed together per shard: local deliveries and queued remote recipients."""

    deliveries: list[Delivery] = field(default_factory=list)
    queued: list[QueuedMessage] = field(default_factory=list)


class Watch(Protocol):
    """Tells readers that an account changed. May lose or double a call: readers look for themselves."""

    def subscribe(self, account: AccountId, wake: Callable[[Modseq], None]) -> Callable[[], None]:
        """Call ``wake`` (short, never raises) after changes; returns a function that ends the subscription."""


class MailStore(Protocol):
    """All accounts this process can reach, whichever shard and worker owns them."""

    watch: Watch

    # --- accounts
    async def create_account(self, account: AccountId, quota: int = 0) -> None:
        """Make the account's row and its default mailboxes (DEFAULT_MAILBOXES, subscribed); idempotent."""

    async def delete_account(self, account: AccountId) -> None:
        """Remove everything of the account."""

    async def set_quota(self, account: AccountId, quota: int) -> None:
        """Octets, 0 for none."""

    def usage(self, account: AccountId) -> Usage:
        """O(1)."""

    def modseq(self, account: AccountId) -> Modseq:
        """The account's current modseq; O(1)."""

    # --- mailboxes
    def mailboxes(self, account: AccountId) -> Sequence[Mailbox]:
        """All of them with counters, ordered by name."""

    def mailbox(self, account: AccountId, name: str) -> Mailbox:
        """By name (INBOX in any case). Raises NoSuchMailbox."""

    def mailbox_by_id(self, account: AccountId, mailbox: MailboxId) -> Mailbox:
        """By id. Raises NoSuchMailbox."""

    async def create_mailbox(
        self, account: AccountId, name: str, special_use: SpecialUse | None = None
    ) -> Mailbox:
        """Make it, superior names included (RFC 3501 §6.3.3). Raises MailboxExists, InvalidName, UseAttributeTaken,
        LimitExceeded. A name deleted before gets a fresh, higher UIDVALIDITY."""

    async def delete_mailbox(self, account: AccountId, name: str) -> None:
        """RFC 3501 §6.3.4: with children it loses its messages and becomes not selectable. Raises NoSuchMailbox,
        MailboxHasChildren (not selectable already), NotAllowed for INBOX."""

    async def rename_mailbox(self, account: AccountId, name: str, to: str) -> None:
        """RFC 3501 §6.3.5, inferiors included; renaming INBOX moves its messages and leaves it empty.
        Raises NoSuchMailbox, MailboxExists, InvalidName."""

    async def subscribe(self, account: AccountId, name: str, subscribed: bool) -> None:
        """Subscriptions are kept by name and outlive the mailbox (RFC 3501 §6.3.6)."""

    def subscriptions(self, account: AccountId) -> Sequence[str]:
        """Subscribed names, ordered, whether or not the mailbox exists."""

    # --- adding
    def spool(self, size_hint: int | None = None) -> Spool:
        """Begin to take a message in."""

    async def deliver(self, batch: Batch) -> list[Exception | Appended]:
        """Store an accepted message: one outcome per delivery, in order (QuotaExceeded concerns its delivery alone);
        ``queued`` rows are committed in the same transaction as the deliveries of their shard. Durable on return."""

    async def append(
        self,
        account: AccountId,
        mailbox: MailboxId,
        messages: Sequence[NewMessage],
        *,
        claim_recent: bool = False,
    ) -> Appended:
        """All or nothing (RFC 3502); with ``claim_recent`` in the same transaction. Raises NoSuchMailbox, QuotaExceeded,
        LimitExceeded (keywords)."""

    # --- entries
    def uids(self, account: AccountId, mailbox: MailboxId, as_of: Modseq | None = None) -> array[int]:
        """UIDs present now, or as they were at an earlier modseq, rising, as array('I'). Raises NoSuchMailbox.
        A mailbox without holes costs no scan. When the log no longer reaches back to ``as_of``, UIDs removed since are
        missing from the answer."""

    def first_unseen(self, account: AccountId, mailbox: MailboxId) -> Uid | None:
        """The lowest UID without \\Seen; an indexed look-up."""

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        """Rows of the entries in the set that are still there, rising by UID, in batches of bounded size; one query.
        Each batch is a short read: callers may await between batches."""

    def structure(self, account: AccountId, message: MessageId) -> Part:
        """The MIME tree of a message. Raises NoSuchMessage."""

    def octets(self, account: AccountId, message: MessageId) -> Octets:
        """Reader of a message's octets. Raises NoSuchMessage."""

    def changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> MailboxChanges:
        """Folded changes after ``since`` (exclusive). Never raises NoSuchMailbox: ``removed`` says so."""

    async def search(self, account: AccountId, mailbox: MailboxId, criterion: Criterion) -> array[int]:
        """UIDs that match, rising, as array('I'). Runs long scans off the event loop. Raises NoSuchMailbox."""

    async def store_flags(
        self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
        change: FlagChange,
        flags: int,
        keywords: tuple[str, ...] = (),
        unchanged_since: Modseq | None = None,
        *,
        states: bool = True,
    ) -> FlagsStored:
        """RFC 3501 §6.4.6, RFC 7162 §3.1.3. UIDs not there are ignored; an entry whose flags stay as they were keeps its
        modseq. Without ``states`` the result's ``changed`` is empty. Raises NoSuchMailbox, LimitExceeded (keywords)."""

    async def copy(self, account: AccountId, source: MailboxId, uids: UidSet, target: MailboxId) -> Copied:
        """All or nothing; flags and internal date kept. Raises NoSuchMailbox, QuotaExceeded."""

    async def move(self, account: AccountId, source: MailboxId, uids: UidSet, target: MailboxId) -> Copied:
        """RFC 6851: in one transaction. Raises NoSuchMailbox."""

    async def expunge(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet | None = None, *, only_deleted: bool = True
    ) -> Expunged:
        """Remove entries with \\Deleted (all of them, or those in ``uids``); with ``only_deleted`` False whatever is in
        ``uids`` (POP3 UPDATE). Raises NoSuchMailbox."""

    async def claim_recent(self, account: AccountId, mailbox: MailboxId) -> tuple[Uid, Uid]:
        """RFC 3501 §2.3.2: take the \\Recent UIDs for this session: returns the half-open range
        ``(recent_from, uid_next)`` and sets recent_from to uid_next. Writes only when there is something to claim."""

    # --- exclusive access
    async def lock_maildrop(self, account: AccountId) -> Lease:
        """RFC 1939 §4: one POP3 session per account over all workers. Raises InUse."""

    # --- queue
    async def update_queued(self, message: QueuedMessage) -> None:
        """Write back recipients' states; a message without pending recipients is removed. Durable on return."""

    def due(self, now: int, limit: int) -> list[QueuedMessage]:
        """Messages of the shards this process owns with a pending recipient whose next attempt is due, oldest first."""

    def next_due(self) -> int | None:
        """When the next attempt is due, in seconds since 1970, in the shards this process owns."""

    def queue_octets(self, message: QueuedMessage) -> Octets:
        """Reader of a queued message's octets."""

    # --- life
    @property
    def failed(self) -> str | None:
        """Why the store has stopped acknowledging, or None."""

    async def close(self) -> None:
        """Finish what waits, then release everything."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
