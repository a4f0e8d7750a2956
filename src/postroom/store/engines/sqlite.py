"""The SQLite engine: one file per shard, group commit, one thread per owned shard that waits for the disk.

How to use it (``store/opening.py`` makes a whole MailStore of such parts)::

    files = FileBlobs(data / "blobs", run_in_thread)
    shard = open_shard(data / "shards" / "1.sqlite", loop=loop, shard=1, announce=watch.announce)   # its owner
    reader = ShardReader(data / "shards" / "1.sqlite", files)                                          # everybody

Invariants:
- What waits goes into one transaction together; while its commit is under way the next group gathers. A group begins when the
  event loop has found nothing ready any more (or enough waits), so that all who are ready join: groups grow by themselves
  under load, and somebody alone waits for a few empty turns of the loop and one commit.
- Nobody is answered before COMMIT has returned under ``synchronous=FULL``. One call into the event loop answers the group.
- Statements of light operations (a delivery, a few flags) run on the loop's thread, everything else in the shard's thread:
  COMMIT, checkpoints, and operations on many entries. Each SQLite statement gives up and takes back the GIL; beside a busy
  event loop every one of them became a wait and two thread switches (LMTP, one worker: 1.47 ms CPU a delivery that way,
  1.06 ms this way).
- The connection is used by one of the two threads at a time (``_busy``).
- Checkpoints come after the answers: when the log is long, or when nobody has wanted anything for a while.

It must not know: protocols, asyncio (the loop comes as a Protocol), which process reads.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, Protocol

import apsw

from postroom.model.errors import InUse, Unavailable
from postroom.model.ids import AccountId, Modseq, ShardId
from postroom.model.mailbox import DEFAULT_MAILBOXES
from postroom.store import operations as op
from postroom.store.api import Lease
from postroom.store.engines.sqlite_transaction import Group, Transactions
from postroom.store.operations import Operation
from postroom.store.sql.connection import connect_writer, lock_file
from postroom.store.sql.rows import RETAINED
from postroom.store.sql.schema import migrate

MOST_OPERATIONS: Final = 256
"""In one transaction; what waits beyond comes next."""
MOST_OCTETS: Final = 16 << 20
"""Inline octets in one transaction, about."""
MOST_WEIGHT: Final = 64
"""Weight of a group whose statements run on the loop's thread: about 3 ms."""
GATHER_OPERATIONS: Final = 32
"""How many need not wait for others: larger groups cost no less for each."""
GATHER_SECONDS: Final = 0.008
"""How long a group gathers while the loop stays busy; about eight deliveries' work. Measured, two workers with a shard each,
LMTP of 4 KB by 16 and 64 connections: groups of 6 and 18 instead of 2.6 and 10, about an eighth less CPU for a delivery."""
_QUIET_SECONDS: Final = 0.000_05
"""A turn of the loop that took less did nothing: an empty one takes about 10 microseconds, a command of a session 100."""
_QUIET_TURNS: Final = 2
"""What one turn reads is often worked on in the next, so one quiet turn proves nothing."""
IDLE_SECONDS: Final = 1.0
_HEAVY: Final = MOST_WEIGHT + 1
_OCTETS_PER_WEIGHT: Final = 16 * 1024
_QUEUE_ID_BITS: Final = 40


class Loop(Protocol):
    """What the engine needs of an event loop."""

    def create_future(self) -> Any:
        """A future of this loop."""

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """Run ``callback`` in the next turn; on the loop's thread."""

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Any:
        """Run ``callback`` in some seconds; gives a handle with ``cancel``."""

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """Run ``callback`` on the loop's thread. Raises RuntimeError when the loop is closed."""


def open_shard(
    path: Path,
    *,
    loop: Loop,
    shard: ShardId,
    announce: Callable[[AccountId, Modseq], None],
    clock: Callable[[], float] = time.time,
    vfs: str | None = None,
    retained: int | None = None,
) -> SqliteShard:
    """Become the owner of the shard at ``path`` (made and migrated as needed) and start its thread.

    ``announce`` is called on the loop's thread after each durable change. ``shard`` numbers the shard among all (queue ids
    carry it). ``retained`` is how many modseqs of an account keep their changes. Raises Unavailable: in use by another
    process, of a newer version, damaged or not writable. Blocks shortly.
    """
    lock = -1
    try:
        lock = lock_file(path)
        db = connect_writer(path, vfs)
        migrate(db)
        _seed_queue_ids(db, shard)
    except (apsw.Error, OSError, Unavailable) as error:
        if lock >= 0:
            os.close(lock)
        if isinstance(error, Unavailable):
            raise
        raise Unavailable(private=f"{path}: {error}") from error
    transactions = Transactions(db, clock, RETAINED if retained is None else retained)
    return SqliteShard(transactions, lock, path.name, loop, announce)


def _seed_queue_ids(db: apsw.Connection, shard: ShardId) -> None:
    """Queue ids of different shards never meet."""
    with db:
        if not db.execute("SELECT 1 FROM sqlite_sequence WHERE name = 'queue_message'").fetchall():
            db.execute("INSERT INTO sqlite_sequence VALUES ('queue_message', ?)", (shard << _QUEUE_ID_BITS,))


class _Job(Enum):
    """What the shard's thread is asked to do."""

    COMMIT = auto()
    WHOLE = auto()
    CHECKPOINT = auto()
    CLOSE = auto()


class SqliteShard:
    """The ShardWriter of an owned shard. Made by ``open_shard``; its methods belong to the loop's thread."""

    def __init__(
        self,
        transactions: Transactions,
        lock: int,
        name: str,
        loop: Loop,
        announce: Callable[[AccountId, Modseq], None],
    ) -> None:
        self._transactions = transactions
        self._lock = lock
        self._loop = loop
        self._announce = announce
        self._waiting: deque[tuple[Operation, Any]] = deque()
        self._busy = False
        self._scheduled = False
        self._gathering_since = self._turn = 0.0
        self._quiet = 0
        self._closed: Any = None
        self._idle: Any = None
        self._maildrops: set[AccountId] = set()
        self._jobs: queue.SimpleQueue[tuple[_Job, Group]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"shard {name}", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> str | None:
        """Why nothing is written any more, or None."""
        return self._transactions.failed

    @property
    def commits(self) -> int:
        """Transactions committed so far."""
        return self._transactions.commits

    @property
    def operations(self) -> int:
        """Operations in them."""
        return self._transactions.operations

    def submit(self, operation: Operation) -> Awaitable[Any]:
        """Have it done; the awaitable gives the result once it is durable."""
        future = self._loop.create_future()
        if self._closed is not None or self.failed:
            future.set_exception(Unavailable(private=self.failed or "the shard is closed"))
        else:
            self._waiting.append((operation, future))
            self._schedule()
        awaitable: Awaitable[Any] = future
        return awaitable

    async def lock_maildrop(self, account: AccountId) -> Lease:
        """Raises InUse."""
        if account in self._maildrops:
            raise InUse
        self._maildrops.add(account)
        return _MaildropLease(self._maildrops, account)

    async def close(self) -> None:
        """Do what waits, check the log in, release the file and the lock; idempotent."""
        if self._closed is None:
            self.abandon()
        await self._closed

    def abandon(self) -> None:
        """Begin to close, without waiting."""
        self._closed = self._loop.create_future()
        self._schedule()

    # --- on the loop's thread

    def _schedule(self) -> None:
        """Begin the next group soon."""
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._gathering_since = self._turn = time.perf_counter()
            self._quiet = 0
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Begin when the loop has run dry, so that what comes together goes together."""
        if 0 < len(self._waiting) < GATHER_OPERATIONS and self._closed is None:
            now = time.perf_counter()
            self._quiet = self._quiet + 1 if now - self._turn < _QUIET_SECONDS else 0
            self._turn = now
            if self._quiet < _QUIET_TURNS and now - self._gathering_since < GATHER_SECONDS:
                self._loop.call_soon(self._gather)
                return
        self._begin()

    def _begin(self) -> None:
        self._scheduled = False
        if self._busy:
            return
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._waiting:
            batch, light = self._take()
            group = Group(batch)
            performed = light and self._transactions.perform(group, wait=False)
            self._hand_over(_Job.COMMIT if performed else _Job.WHOLE, group)
        elif self._closed is not None:
            if not self._closed.done():
                self._hand_over(_Job.CLOSE)
        elif self._transactions.log_pages:
            self._idle = self._loop.call_later(IDLE_SECONDS, self._rest)

    def _take(self) -> tuple[list[tuple[Operation, Any]], bool]:
        """The next group in order of arrival, and whether it is light enough for this thread. A heavy operation does not
        join a light group: it comes next."""
        waiting = self._waiting
        batch: list[tuple[Operation, Any]] = []
        light = _weight(waiting[0][0]) <= MOST_WEIGHT
        weight = octets = 0
        while waiting and len(batch) < MOST_OPERATIONS and octets < MOST_OCTETS:
            operation = waiting[0][0]
            weight += _weight(operation)
            if light and batch and weight > MOST_WEIGHT:
                break
            octets += _inline_octets(operation)
            batch.append(waiting.popleft())
        return batch, light

    def _rest(self) -> None:
        """Nobody has wanted anything for a while."""
        self._idle = None
        if not self._busy and not self._scheduled:
            self._hand_over(_Job.CHECKPOINT)

    def _hand_over(self, job: _Job, group: Group | None = None) -> None:
        self._busy = True
        self._jobs.put((job, group or Group([])))

    def _finished(self, group: Group) -> None:
        """The shard's thread has done its job: tell everybody concerned, and go on."""
        self._busy = False
        if self._transactions.log_pages >= self._transactions.log_limit:
            self._hand_over(_Job.CHECKPOINT)
        for future, result, error in group.answers:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
        self._schedule()
        for account, modseq in group.announced.items():
            self._announce(account, modseq)

    # --- on the shard's thread

    def _run(self) -> None:
        transactions = self._transactions
        job = None
        while job is not _Job.CLOSE:
            job, group = self._jobs.get()
            if job is _Job.WHOLE:
                transactions.perform(group)
            if job in {_Job.WHOLE, _Job.COMMIT}:
                transactions.commit(group)
            elif job is _Job.CHECKPOINT:
                transactions.checkpoint()
            else:
                transactions.close()
                os.close(self._lock)
                group.answers.append((self._closed, None, None))
            try:
                self._loop.call_soon_threadsafe(self._finished, group)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more


def _weight(operation: Operation) -> int:
    """What an operation costs, in deliveries of small messages."""
    match operation:
        case op.Deliver():
            octets = sum(content.blob.size for content in operation.contents)
            return len(operation.placements) + len(operation.queued) + octets // _OCTETS_PER_WEIGHT
        case op.Append():
            octets = sum(message.blob.size for message in operation.messages)
            return len(operation.messages) + octets // _OCTETS_PER_WEIGHT
        case op.StoreFlags() | op.Copy() | op.Move():
            return min(len(operation.uids), _HEAVY)
        case op.Expunge():
            return _HEAVY if operation.uids is None else min(len(operation.uids), _HEAVY)
        case op.SetQuota() | op.Subscribe() | op.ClaimRecent() | op.UpdateQueued() | op.CreateMailbox():
            return 1
        case op.CreateAccount():
            return len(DEFAULT_MAILBOXES)
        case op.DeleteAccount() | op.DeleteMailbox() | op.RenameMailbox() | op.CutChanges():
            return _HEAVY


def _inline_octets(operation: Operation) -> int:
    if isinstance(operation, op.Deliver):
        return sum(content.blob.size for content in operation.contents)
    if isinstance(operation, op.Append):
        return sum(message.blob.size for message in operation.messages)
    return 0


class _MaildropLease:
    def __init__(self, held: set[AccountId], account: AccountId) -> None:
        self._held: set[AccountId] | None = held
        self._account = account

    async def release(self) -> None:
        """Give it back; idempotent."""
        held, self._held = self._held, None
        if held is not None:
            held.discard(self._account)
