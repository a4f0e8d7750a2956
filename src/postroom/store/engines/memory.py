"""The reference engine: everything in plain dicts, obviously correct, gone when the process ends.

Purpose: what the other engines are compared with, and what tests of sessions run on.

Invariants: those of ``store.api``; nothing here is clever. Reads walk over all entries where that is simplest.

It must not know: SQL, threads, asyncio.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from postroom.mime.facts import Facts, Part
from postroom.mime.scanner import scan
from postroom.mime.structure import dump_structure
from postroom.model.change import ChangeKind, FlagState, MailboxChanges
from postroom.model.errors import (
    InUse,
    InvalidName,
    LimitExceeded,
    MailboxExists,
    MailboxHasChildren,
    NoSuchMailbox,
    NoSuchMessage,
    NotAllowed,
    PostroomError,
    QuotaExceeded,
    Unavailable,
    UseAttributeTaken,
)
from postroom.model.flags import MAX_KEYWORDS_PER_MAILBOX, FlagChange, SystemFlag, combine, normalise_keywords
from postroom.model.ids import AccountId, MailboxId, MessageId, Modseq, QueueId, Uid, UidValidity
from postroom.model.mailbox import DEFAULT_MAILBOXES, INBOX, SEPARATOR, Mailbox, SpecialUse
from postroom.model.message import BlobRef, NewMessage, Octets
from postroom.model.search import Criterion
from postroom.model.uidset import UidSet
from postroom.store.api import (
    Appended,
    Batch,
    Column,
    Copied,
    Expunged,
    FlagsStored,
    Lease,
    QueuedMessage,
    Row,
    Spool,
    SpoolResult,
    Usage,
    Watch,
)
from postroom.store.mailbox_names import MAX_MAILBOXES, new_name, normalise_name, superior_names
from postroom.store.search import MessageText, matches
from postroom.store.watch import LocalWatch

_BATCH: Final = 500


class HeldOctets:
    """Octets in memory."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def size(self) -> int:
        """Length in octets."""
        return len(self._octets)

    def read(self, offset: int, length: int) -> bytes:
        """Octets from ``offset``."""
        return self._octets[offset : offset + length]


@dataclass(slots=True)
class _Message:
    id: MessageId
    octets: bytes
    facts: Facts
    envelope_from: str | None
    envelope_to: str | None


@dataclass(slots=True)
class _Entry:
    uid: Uid
    message: _Message
    flags: int
    keywords: tuple[str, ...]
    modseq: Modseq
    created: Modseq
    internal_date: int
    zone: int
    saved: int

    @property
    def size(self) -> int:
        return len(self.message.octets)

    @property
    def message_id(self) -> int:
        return self.message.id

    @property
    def sent_day(self) -> int | None:
        return self.message.facts.sent_day

    def text(self) -> MessageText:
        return MessageText(self.message.octets, self.message.facts.root)


@dataclass(slots=True)
class _Change:
    modseq: Modseq
    kind: ChangeKind
    mailbox: MailboxId
    uid: Uid
    created: Modseq


@dataclass(slots=True)
class _Box:
    row: Mailbox
    entries: dict[Uid, _Entry] = field(default_factory=dict)


@dataclass(slots=True)
class _Account:
    quota: int
    modseq: Modseq = Modseq(1)
    boxes: dict[MailboxId, _Box] = field(default_factory=dict)
    subscriptions: set[str] = field(default_factory=set)
    log: list[_Change] = field(default_factory=list)
    next_mailbox: int = 1
    next_message: int = 1
    last_validity: int = 0

    def named(self, name: str) -> _Box | None:
        return next((box for box in self.boxes.values() if box.row.name == name), None)


class MemorySpool:
    """A message on its way in, kept in memory."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Take octets."""
        self._chunks.append(chunk)
        self.size += len(chunk)

    async def finish(self) -> SpoolResult:
        """Scan what was written."""
        octets = b"".join(self._chunks)
        blob = BlobRef("inline", "", len(octets), hashlib.sha256(octets).digest(), octets)
        return SpoolResult(blob, scan(octets))

    def abort(self) -> None:
        """Forget it."""
        self._chunks.clear()


class _Lease:
    def __init__(self, locked: set[AccountId], account: AccountId) -> None:
        self._locked = locked
        self._account: AccountId | None = account

    async def release(self) -> None:
        """Give it back; idempotent."""
        if self._account is not None:
            self._locked.discard(self._account)
            self._account = None


class MemoryStore:
    """All accounts, in memory. ``clock`` gives seconds since 1970: UIDVALIDITY starts from it."""

    def __init__(self, clock: Callable[[], int] = lambda: 1_700_000_000) -> None:
        self._local = LocalWatch()
        self.watch: Watch = self._local
        self._clock = clock
        self._accounts: dict[AccountId, _Account] = {}
        self._queue: dict[QueueId, QueuedMessage] = {}
        self._queue_numbers = itertools.count(1)
        self._locked: set[AccountId] = set()

    # --- accounts

    async def create_account(self, account: AccountId, quota: int = 0) -> None:
        """Idempotent."""
        if account in self._accounts:
            return
        made = self._accounts[account] = _Account(quota)
        for name, use in DEFAULT_MAILBOXES:
            self._make(made, name, use)
            made.subscriptions.add(name)

    async def delete_account(self, account: AccountId) -> None:
        """Everything of it."""
        self._accounts.pop(account, None)

    async def set_quota(self, account: AccountId, quota: int) -> None:
        """Octets, 0 for none."""
        self._account(account).quota = quota

    def usage(self, account: AccountId) -> Usage:
        """Counted anew."""
        found = self._account(account)
        entries = [entry for box in found.boxes.values() for entry in box.entries.values()]
        return Usage(sum(entry.size for entry in entries), len(entries), found.quota)

    def modseq(self, account: AccountId) -> Modseq:
        """Current modseq."""
        return self._account(account).modseq

    # --- mailboxes

    def mailboxes(self, account: AccountId) -> Sequence[Mailbox]:
        """Ordered by name."""
        found = self._account(account)
        return sorted((self._row(found, box) for box in found.boxes.values()), key=lambda row: row.name)

    def mailbox(self, account: AccountId, name: str) -> Mailbox:
        """By name. Raises NoSuchMailbox."""
        found = self._account(account)
        box = found.named(normalise_name(name))
        if box is None:
            raise NoSuchMailbox
        return self._row(found, box)

    def mailbox_by_id(self, account: AccountId, mailbox: MailboxId) -> Mailbox:
        """By id. Raises NoSuchMailbox."""
        found = self._account(account)
        if mailbox not in found.boxes:
            raise NoSuchMailbox
        return self._row(found, found.boxes[mailbox])

    async def create_mailbox(
        self, account: AccountId, name: str, special_use: SpecialUse | None = None
    ) -> Mailbox:
        """Superior names are made too."""
        name = new_name(name)
        found = self._account(account)
        present = found.named(name)
        if present is not None and present.row.selectable:
            raise MailboxExists
        if special_use is not None and any(
            box.row.special_use is special_use for box in found.boxes.values()
        ):
            raise UseAttributeTaken
        missing = [above for above in superior_names(name) if found.named(above) is None]
        if len(found.boxes) + len(missing) + 1 > MAX_MAILBOXES:
            raise LimitExceeded
        found.modseq = Modseq(found.modseq + 1)
        for above in missing:
            self._make(found, above, None)
        if present is not None:
            del found.boxes[present.row.id]
        box = self._make(found, name, special_use)
        self._log_mailbox(found, box)
        self._local.announce(account, found.modseq)
        return self._row(found, box)

    async def delete_mailbox(self, account: AccountId, name: str) -> None:
        """With children it becomes not selectable."""
        found = self._account(account)
        box = self._named(found, normalise_name(name))
        if box.row.name == INBOX:
            raise NotAllowed("INBOX cannot be deleted")
        children = any(one.row.name.startswith(box.row.name + SEPARATOR) for one in found.boxes.values())
        if children and not box.row.selectable:
            raise MailboxHasChildren
        found.modseq = Modseq(found.modseq + 1)
        self._log_mailbox(found, box)
        for entry in list(box.entries.values()):
            self._remove(found, box, entry)
        del found.boxes[box.row.id]
        if children:
            self._make(found, box.row.name, None).row.selectable = False
        self._local.announce(account, found.modseq)

    async def rename_mailbox(self, account: AccountId, name: str, to: str) -> None:
        """Inferiors move along; INBOX's messages move out of it."""
        found = self._account(account)
        box = self._named(found, normalise_name(name))
        to = new_name(to)
        if found.named(to) is not None:
            raise MailboxExists
        source = box.row.name
        if source != INBOX and to.startswith(source + SEPARATOR):
            raise InvalidName("A mailbox cannot be moved below itself")
        inferiors = [
            one
            for one in found.boxes.values()
            if source != INBOX and one.row.name.startswith(source + SEPARATOR)
        ]
        renamed = [to + one.row.name[len(source) :] for one in inferiors]
        for one_name in renamed:
            new_name(one_name)
        missing = [above for above in superior_names(to) if found.named(above) is None]
        if len(found.boxes) + len(missing) + (source == INBOX) > MAX_MAILBOXES:
            raise LimitExceeded("Too many mailboxes")
        found.modseq = Modseq(found.modseq + 1)
        for above in missing:
            self._make(found, above, None)
        if source == INBOX:
            target = self._make(found, to, None)
            for entry in sorted(box.entries.values(), key=lambda one: one.uid):
                self._add(
                    found, target, entry.message, entry.flags, entry.keywords, entry.internal_date, entry.zone
                )
                self._remove(found, box, entry)
            self._log_mailbox(found, target)
        else:
            for one, one_name in zip([box, *inferiors], [to, *renamed], strict=True):
                one.row.name = one_name
                self._log_mailbox(found, one)
        self._local.announce(account, found.modseq)

    async def subscribe(self, account: AccountId, name: str, subscribed: bool) -> None:
        """By name, whether or not it exists."""
        found = self._account(account)
        name = normalise_name(name)
        if subscribed == (name in found.subscriptions):
            return
        if not subscribed:
            found.subscriptions.discard(name)
        elif len(found.subscriptions) >= MAX_MAILBOXES:
            raise LimitExceeded("Too many subscriptions")
        else:
            found.subscriptions.add(new_name(name))
        found.modseq = Modseq(found.modseq + 1)
        self._local.announce(account, found.modseq)

    def subscriptions(self, account: AccountId) -> Sequence[str]:
        """Ordered."""
        return sorted(self._account(account).subscriptions)

    # --- adding

    def spool(self, size_hint: int | None = None) -> Spool:  # noqa: ARG002 - the Protocol's signature
        """Begin to take a message in."""
        return MemorySpool()

    async def deliver(self, batch: Batch) -> list[Exception | Appended]:
        """One outcome per delivery; what is queued is kept in any case."""
        outcomes: list[Exception | Appended] = []
        modseqs: dict[AccountId, Modseq] = {}
        for delivery in batch.deliveries:
            try:
                found = self._account(delivery.account)
                box = found.named(normalise_name(delivery.mailbox))
                if box is None or not box.row.selectable:
                    box = self._named(found, INBOX)
                modseq = modseqs.get(delivery.account)
                outcomes.append(done := self._append(delivery.account, box, [delivery.message], modseq))
                modseqs[delivery.account] = done.modseq
            except PostroomError as error:
                outcomes.append(error)
        for message in batch.queued:
            number = message.id or QueueId(next(self._queue_numbers))
            self._queue[number] = _copied(replace(message, id=number))
        return outcomes

    async def append(
        self,
        account: AccountId,
        mailbox: MailboxId,
        messages: Sequence[NewMessage],
        *,
        claim_recent: bool = False,
    ) -> Appended:
        """All or nothing."""
        done = self._append(account, self._box(account, mailbox), messages)
        return replace(done, claimed=await self.claim_recent(account, mailbox)) if claim_recent else done

    # --- entries

    def uids(self, account: AccountId, mailbox: MailboxId, as_of: Modseq | None = None) -> array[int]:
        """Now, or as they were."""
        found = self._account(account)
        present = {entry.uid: entry.created for entry in self._box(account, mailbox).entries.values()}
        if as_of is not None:
            for change in found.log:
                if change.kind is ChangeKind.GONE and change.mailbox == mailbox and change.modseq > as_of:
                    present[change.uid] = change.created
            return array("I", sorted(uid for uid, created in present.items() if created <= as_of))
        return array("I", sorted(present))

    def first_unseen(self, account: AccountId, mailbox: MailboxId) -> Uid | None:
        """The lowest."""
        box = self._box(account, mailbox)
        return min((e.uid for e in box.entries.values() if not e.flags & SystemFlag.SEEN), default=None)

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        """Rising by UID."""
        box = self._account(account).boxes.get(mailbox)
        if box is None:
            return
        wanted = sorted(uid for uid in box.entries if uid in uids)
        for first in range(0, len(wanted), _BATCH):
            entries = [box.entries[uid] for uid in wanted[first : first + _BATCH] if uid in box.entries]
            yield [tuple(_value(entry, column) for column in columns) for entry in entries]

    def structure(self, account: AccountId, message: MessageId) -> Part:
        """Raises NoSuchMessage."""
        return self._message(account, message).facts.root

    def octets(self, account: AccountId, message: MessageId) -> Octets:
        """Raises NoSuchMessage."""
        return HeldOctets(self._message(account, message).octets)

    def changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> MailboxChanges:
        """Folded from the log."""
        found = self._account(account)
        changes = MailboxChanges(found.modseq)
        recent = [one for one in found.log if one.mailbox == mailbox and one.modseq > since]
        gone = [one for one in recent if one.kind is ChangeKind.GONE]
        changes.gone = UidSet.of(one.uid for one in gone if one.created <= since)
        changes.passed = UidSet.of(one.uid for one in gone if one.created > since)
        box = found.boxes.get(mailbox)
        if box is None:
            changes.removed = True
            return changes
        changes.added = UidSet.of(entry.uid for entry in box.entries.values() if entry.created > since)
        changes.flags = [
            FlagState(entry.uid, entry.flags, entry.keywords, entry.modseq)
            for entry in sorted(box.entries.values(), key=lambda one: one.uid)
            if entry.modseq > since
        ]
        return changes

    async def search(self, account: AccountId, mailbox: MailboxId, criterion: Criterion) -> array[int]:
        """Looks at every entry."""
        box = self._box(account, mailbox)
        return array("I", sorted(e.uid for e in box.entries.values() if matches(criterion, e)))

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
        """One modseq for all that change."""
        found, box = self._account(account), self._box(account, mailbox)
        named = sorted((e for e in box.entries.values() if e.uid in uids), key=lambda one: one.uid)
        refused = UidSet()
        if unchanged_since is not None:
            refused = UidSet.of(e.uid for e in named if e.modseq > unchanged_since)
        if len(named) > len(refused):
            keywords = self._spelt(box, keywords, add=change is not FlagChange.REMOVE)
        modseq = Modseq(found.modseq + 1)
        changed: list[FlagState] = []
        for entry in named:
            if entry.uid in refused:
                continue
            after = combine(change, (entry.flags, entry.keywords), (int(flags), keywords))
            if after == (entry.flags, entry.keywords):
                continue
            entry.flags, entry.keywords = after
            entry.modseq = modseq
            found.log.append(_Change(modseq, ChangeKind.FLAGS, mailbox, entry.uid, entry.created))
            changed.append(FlagState(entry.uid, entry.flags, entry.keywords, modseq))
        if changed:
            self._changed(account, found, box, modseq)
        altered = UidSet.of(state.uid for state in changed)
        return FlagsStored(changed if states else [], refused, found.modseq, altered)

    async def copy(self, account: AccountId, source: MailboxId, uids: UidSet, target: MailboxId) -> Copied:
        """All or nothing."""
        return self._copy(account, source, uids, target, move=False)

    async def move(self, account: AccountId, source: MailboxId, uids: UidSet, target: MailboxId) -> Copied:
        """In one step."""
        return self._copy(account, source, uids, target, move=True)

    async def expunge(
        self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet | None = None,
        *,
        only_deleted: bool = True,
    ) -> Expunged:
        """Logged as gone."""
        found, box = self._account(account), self._box(account, mailbox)
        leaving = [
            entry
            for entry in box.entries.values()
            if (uids is None or entry.uid in uids)
            and (entry.flags & SystemFlag.DELETED or (uids is not None and not only_deleted))
        ]
        if leaving:
            found.modseq = Modseq(found.modseq + 1)
            for entry in leaving:
                self._remove(found, box, entry)
            self._changed(account, found, box, found.modseq)
        return Expunged(UidSet.of(entry.uid for entry in leaving), found.modseq)

    async def claim_recent(self, account: AccountId, mailbox: MailboxId) -> tuple[Uid, Uid]:
        """Each UID once."""
        row = self._box(account, mailbox).row
        claimed = (row.recent_from, row.uid_next)
        row.recent_from = row.uid_next
        return claimed

    # --- exclusive access, queue, life

    async def lock_maildrop(self, account: AccountId) -> Lease:
        """Raises InUse."""
        if account in self._locked:
            raise InUse
        self._locked.add(account)
        return _Lease(self._locked, account)

    async def update_queued(self, message: QueuedMessage) -> None:
        """Gone when nothing is pending."""
        if message.id not in self._queue:
            return
        if any(recipient.state == "pending" for recipient in message.recipients):
            self._queue[message.id] = _copied(message)
        else:
            del self._queue[message.id]

    def due(self, now: int, limit: int) -> list[QueuedMessage]:
        """Oldest first."""
        waiting = [message for message in self._queue.values() if _next_attempt(message) <= now]
        return [_copied(message) for message in sorted(waiting, key=_next_attempt)[:limit]]

    def next_due(self) -> int | None:
        """The earliest."""
        return min((_next_attempt(message) for message in self._queue.values()), default=None)

    def queue_octets(self, message: QueuedMessage) -> Octets:
        """From the blob that was given. Raises NoSuchMessage."""
        queued = self._queue.get(message.id)
        if queued is None or queued.blob.octets is None:
            raise NoSuchMessage
        return HeldOctets(queued.blob.octets)

    @property
    def failed(self) -> str | None:
        """Memory does not fail."""
        return None

    async def close(self) -> None:
        """Nothing to release."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- inside

    def _account(self, account: AccountId) -> _Account:
        found = self._accounts.get(account)
        if found is None:
            raise Unavailable(private=f"account {account} is not in the store")
        return found

    def _box(self, account: AccountId, mailbox: MailboxId) -> _Box:
        box = self._account(account).boxes.get(mailbox)
        if box is None or not box.row.selectable:
            raise NoSuchMailbox
        return box

    @staticmethod
    def _named(found: _Account, name: str) -> _Box:
        box = found.named(name)
        if box is None:
            raise NoSuchMailbox
        return box

    def _message(self, account: AccountId, message: MessageId) -> _Message:
        for box in self._account(account).boxes.values():
            for entry in box.entries.values():
                if entry.message.id == message:
                    return entry.message
        raise NoSuchMessage

    @staticmethod
    def _row(found: _Account, box: _Box) -> Mailbox:
        entries = box.entries.values()
        return replace(
            box.row,
            messages=len(entries),
            unseen=sum(not entry.flags & SystemFlag.SEEN for entry in entries),
            deleted=sum(bool(entry.flags & SystemFlag.DELETED) for entry in entries),
            octets=sum(entry.size for entry in entries),
            subscribed=box.row.name in found.subscriptions,
        )

    def _validity(self, found: _Account) -> UidValidity:
        found.last_validity = max(found.last_validity + 1, self._clock())
        return UidValidity(found.last_validity)

    def _make(self, found: _Account, name: str, use: SpecialUse | None) -> _Box:
        number = MailboxId(found.next_mailbox)
        found.next_mailbox += 1
        row = Mailbox(
            number,
            name,
            self._validity(found),
            Uid(1),
            special_use=use,
            created=found.modseq,
            highest_modseq=found.modseq,
        )
        box = found.boxes[number] = _Box(row)
        return box

    @staticmethod
    def _log_mailbox(found: _Account, box: _Box) -> None:
        found.log.append(
            _Change(found.modseq, ChangeKind.MAILBOX, MailboxId(0), Uid(box.row.id), found.modseq)
        )

    def _changed(self, account: AccountId, found: _Account, box: _Box, modseq: Modseq) -> None:
        found.modseq = modseq
        box.row.highest_modseq = modseq
        self._local.announce(account, modseq)

    @staticmethod
    def _spelt(box: _Box, keywords: tuple[str, ...], *, add: bool) -> tuple[str, ...]:
        """Keywords as first spelt in the mailbox; new ones are noted. Raises LimitExceeded."""
        known = {word.lower(): word for word in box.row.keywords}
        fresh = tuple(word for word in normalise_keywords(keywords) if word.lower() not in known)
        if add and fresh:
            if len(known) + len(fresh) > MAX_KEYWORDS_PER_MAILBOX:
                raise LimitExceeded("Too many keywords in this mailbox")
            box.row.keywords = tuple(sorted((*box.row.keywords, *fresh), key=str.lower))
        return normalise_keywords(tuple(known.get(word.lower(), word) for word in keywords))

    def _note_all(self, box: _Box, words: Sequence[tuple[str, ...]]) -> None:
        """Note the keywords of several entries, or none of them. Raises LimitExceeded."""
        before = box.row.keywords
        try:
            for some in words:
                self._spelt(box, some, add=True)
        except LimitExceeded:
            box.row.keywords = before
            raise

    def _add(
        self,
        found: _Account,
        box: _Box,
        message: _Message,
        flags: int,
        keywords: tuple[str, ...],
        internal_date: int,
        zone: int,
    ) -> Uid:
        uid = box.row.uid_next
        box.row.uid_next = Uid(uid + 1)
        words = self._spelt(box, keywords, add=True)
        box.entries[uid] = _Entry(
            uid, message, int(flags), words, found.modseq, found.modseq, internal_date, zone, self._clock()
        )
        box.row.highest_modseq = found.modseq
        found.log.append(_Change(found.modseq, ChangeKind.ADDED, box.row.id, uid, found.modseq))
        return uid

    @staticmethod
    def _remove(found: _Account, box: _Box, entry: _Entry) -> None:
        del box.entries[entry.uid]
        box.row.highest_modseq = found.modseq
        found.log.append(_Change(found.modseq, ChangeKind.GONE, box.row.id, entry.uid, entry.created))

    def _check_quota(self, account: AccountId, more: int) -> None:
        usage = self.usage(account)
        if more and usage.quota and usage.octets + more > usage.quota:
            raise QuotaExceeded

    def _append(
        self, account: AccountId, box: _Box, messages: Sequence[NewMessage], modseq: Modseq | None = None
    ) -> Appended:
        found = self._account(account)
        self._check_quota(account, sum(message.blob.size for message in messages))
        self._note_all(box, [message.keywords for message in messages])
        if messages and modseq is None:
            modseq = found.modseq = Modseq(found.modseq + 1)
        uids = []
        for message in messages:
            assert message.blob.octets is not None
            stored = _Message(
                MessageId(found.next_message),
                message.blob.octets,
                message.facts,
                message.envelope_from,
                message.envelope_to,
            )
            found.next_message += 1
            uids.append(
                self._add(
                    found, box, stored, message.flags, message.keywords, message.internal_date, message.zone
                )
            )
        if messages:
            self._changed(account, found, box, found.modseq)
        return Appended(box.row.id, box.row.uid_validity, UidSet.of(uids), found.modseq)

    def _copy(
        self, account: AccountId, source: MailboxId, uids: UidSet, target: MailboxId, *, move: bool
    ) -> Copied:
        found = self._account(account)
        box, into = self._box(account, source), self._box(account, target)
        entries = sorted((e for e in box.entries.values() if e.uid in uids), key=lambda one: one.uid)
        if not entries:
            return Copied(into.row.uid_validity, UidSet(), UidSet(), found.modseq)
        if not move:
            self._check_quota(account, sum(entry.size for entry in entries))
        self._note_all(into, [entry.keywords for entry in entries])
        modseq = found.modseq = Modseq(found.modseq + 1)
        given = [
            self._add(found, into, e.message, e.flags, e.keywords, e.internal_date, e.zone) for e in entries
        ]
        if move:
            for entry in entries:
                self._remove(found, box, entry)
        self._changed(account, found, into, modseq)
        return Copied(
            into.row.uid_validity, UidSet.of(entry.uid for entry in entries), UidSet.of(given), modseq
        )


def _copied(message: QueuedMessage) -> QueuedMessage:
    return replace(message, recipients=[replace(recipient) for recipient in message.recipients])


def _next_attempt(message: QueuedMessage) -> int:
    return min(one.next_attempt for one in message.recipients if one.state == "pending")


_VALUES: Final[dict[Column, Callable[[_Entry], Any]]] = {
    Column.UID: lambda e: e.uid,
    Column.FLAGS: lambda e: e.flags,
    Column.KEYWORDS: lambda e: " ".join(e.keywords),
    Column.MODSEQ: lambda e: e.modseq,
    Column.INTERNAL_DATE: lambda e: e.internal_date,
    Column.ZONE: lambda e: e.zone,
    Column.SIZE: lambda e: e.size,
    Column.MESSAGE: lambda e: e.message.id,
    Column.ENVELOPE: lambda e: e.message.facts.envelope,
    Column.BODY: lambda e: e.message.facts.body_fields,
    Column.BODYSTRUCTURE: lambda e: e.message.facts.bodystructure,
    Column.STRUCTURE: lambda e: dump_structure(e.message.facts.root),
    Column.OCTETS: lambda e: HeldOctets(e.message.octets),
    Column.PREVIEW: lambda e: e.message.facts.preview,
    Column.ENVELOPE_FROM: lambda e: e.message.envelope_from,
    Column.ENVELOPE_TO: lambda e: e.message.envelope_to,
    Column.SENT: lambda e: e.message.facts.sent,
    Column.BASE_SUBJECT: lambda e: e.message.facts.base_subject,
    Column.MESSAGE_ID: lambda e: e.message.facts.message_id,
    Column.SAVED: lambda e: e.saved,
    Column.REFERENCES: lambda e: "\n".join(e.message.facts.references),
}


def _value(entry: _Entry, column: Column) -> Any:
    return _VALUES[column](entry)
