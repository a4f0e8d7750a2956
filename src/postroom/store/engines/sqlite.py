"""The SQLite engine: one file per shard, one writing thread per owned shard, group commit.

How to use it (see ``open_shard`` and ``ShardReader``; ``store/router.py`` makes a MailStore of them)::

    files = FileBlobs(data / "blobs", run_in_thread)
    shard = open_shard(data / "shards" / "0.sqlite", loop=loop, shard=0, announce=watch.announce)   # the owner
    reader = ShardReader(data / "shards" / "0.sqlite", files)                                          # everybody

Invariants:
- The writer takes everything that waits into one transaction. An operation that fails (quota, no such mailbox) fails alone:
  operations refuse before they write, and should one fail later, the whole transaction is done again with a savepoint around
  each (always to have them would cost a fifth of the deliveries). After the commit one call into the event loop answers all.
  There is no timer: batches grow by themselves while a commit is under way.
- Nobody is answered before COMMIT has returned under ``synchronous=FULL``.
- An I/O error latches: the transaction and every later operation end with Unavailable, ``failed`` says why, and only a
  restart of the process (which recovers the file from its log) takes it back. A full disk does not latch: nothing of that
  transaction is stored, and the next one may fit.
- Checkpoints run in the writing thread, after the answers are out: when the log is long or nobody wants anything.

It must not know: protocols, asyncio (the loop comes as a Protocol), which process reads.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import apsw

from postroom.model.errors import InUse, PostroomError, StorageFull, Unavailable
from postroom.model.ids import AccountId, Modseq, ShardId
from postroom.store.api import Lease
from postroom.store.operations import Append, Deliver, Operation
from postroom.store.sql.connection import connect_writer, lock_file
from postroom.store.sql.operate import OPERATIONS
from postroom.store.sql.rows import RETAINED, Work
from postroom.store.sql.schema import migrate

MOST_OPERATIONS: Final = 256
"""In one transaction; what waits beyond comes next."""
MOST_OCTETS: Final = 16 << 20
"""Inline octets in one transaction, about."""
CHECKPOINT_PAGES: Final = 4_096
"""Length of the log, in pages, from which a checkpoint does not wait for idleness."""
IDLE_SECONDS: Final = 1.0
_QUEUE_ID_BITS: Final = 40

_LATCHING: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.ProtocolError,
    apsw.AuthError,
    apsw.PermissionsError,
)
_PASSING: Final = (apsw.NoMemError, apsw.BusyError, apsw.LockedError, apsw.InterruptError)


class Loop(Protocol):
    """What the engine needs of an event loop."""

    def create_future(self) -> Any:
        """A future of this loop."""

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """Run ``callback`` on the loop's thread. Raises RuntimeError when the loop is closed."""


class _Spoiled(Exception):
    """An operation failed half done, and there was no savepoint to go back to."""


Answer = tuple[Any, Any, BaseException | None]
"""A future, and its result or error."""


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
    """Become the owner of the shard at ``path`` (made and migrated as needed) and start its writing thread.

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
    return SqliteShard(db, lock, path.name, loop, announce, clock, RETAINED if retained is None else retained)


def _seed_queue_ids(db: apsw.Connection, shard: ShardId) -> None:
    """Queue ids of different shards never meet."""
    with db:
        if not db.execute("SELECT 1 FROM sqlite_sequence WHERE name = 'queue_message'").fetchall():
            db.execute("INSERT INTO sqlite_sequence VALUES ('queue_message', ?)", (shard << _QUEUE_ID_BITS,))


class SqliteShard:
    """The ShardWriter of an owned shard. Made by ``open_shard``; its methods belong to the loop's thread."""

    def __init__(
        self,
        db: apsw.Connection,
        lock: int,
        name: str,
        loop: Loop,
        announce: Callable[[AccountId, Modseq], None],
        clock: Callable[[], float],
        retained: int,
    ) -> None:
        self._db = db
        self._lock = lock
        self._loop = loop
        self._announce = announce
        self._clock = clock
        self._retained = retained
        self._queue: queue.SimpleQueue[tuple[Operation | None, Any]] = queue.SimpleQueue()
        self._failed: str | None = None
        self._closed = False
        self._log_pages = 0
        self._maildrops: set[AccountId] = set()
        self.commits = 0
        """Transactions committed so far."""
        self.operations = 0
        """Operations in them."""
        db.set_wal_hook(self._note_log)
        self._thread = threading.Thread(target=self._run, name=f"shard {name}", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> str | None:
        """Why nothing is written any more, or None."""
        return self._failed

    def submit(self, operation: Operation) -> Awaitable[Any]:
        """Have it done; the awaitable gives the result once it is durable."""
        future = self._loop.create_future()
        if self._failed or self._closed:
            future.set_exception(Unavailable(private=self._failed or "the shard is closed"))
        else:
            self._queue.put((operation, future))
        awaitable: Awaitable[Any] = future
        return awaitable

    async def lock_maildrop(self, account: AccountId) -> Lease:
        """Raises InUse."""
        if account in self._maildrops:
            raise InUse
        self._maildrops.add(account)
        return _MaildropLease(self._maildrops, account)

    async def close(self) -> None:
        """Do what waits, checkpoint, release the file and the lock; idempotent."""
        if self._closed:
            return
        self._closed = True
        done = self._loop.create_future()
        self._queue.put((None, done))
        await done

    def abandon(self) -> None:
        """Close without waiting, before anything was submitted."""
        self._closed = True
        self._queue.put((None, self._loop.create_future()))

    # --- the writing thread

    def _note_log(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _run(self) -> None:
        while True:
            batch, end = self._take()
            if batch:
                self._commit(batch)
            if end is not None:
                self._end()
                self._answer([(end, None, None)], {})
                return
            if self._log_pages >= CHECKPOINT_PAGES or (not batch and self._log_pages):
                self._checkpoint()

    def _take(self) -> tuple[list[tuple[Operation, Any]], Any | None]:
        """What waits, and the future of ``close`` when that was reached. Empty after an idle while with log to check in."""
        batch: list[tuple[Operation, Any]] = []
        octets = 0
        try:
            operation, future = self._queue.get(timeout=IDLE_SECONDS if self._log_pages else None)
            while operation is not None:
                batch.append((operation, future))
                octets += _inline_octets(operation)
                if len(batch) >= MOST_OPERATIONS or octets >= MOST_OCTETS:
                    return batch, None
                operation, future = self._queue.get_nowait()
            return batch, future
        except queue.Empty:
            return batch, None

    def _commit(self, batch: list[tuple[Operation, Any]]) -> None:
        if self._failed:
            self._refuse(batch, Unavailable(private=self._failed))
            return
        answers: list[Answer] = []
        announced: dict[AccountId, Modseq] = {}
        try:
            try:
                self._transact(batch, answers, announced, savepoints=False)
            except _Spoiled:
                self._db.execute("ROLLBACK")
                answers, announced = [], {}
                self._transact(batch, answers, announced, savepoints=True)
        except apsw.FullError as error:
            self._undo(batch, StorageFull(private=f"shard: {error}"))
        except _PASSING as error:
            self._undo(batch, Unavailable(private=f"shard: {type(error).__name__}: {error}"))
        except Exception as error:  # noqa: BLE001 - an unforeseen state of the file: stop before anything worse
            self._undo(batch, Unavailable(private=self._latch(f"{type(error).__name__}: {error}")))
        else:
            self.commits += 1
            self.operations += len(batch)
            self._answer(answers, announced)

    def _transact(
        self,
        batch: list[tuple[Operation, Any]],
        answers: list[Answer],
        announced: dict[AccountId, Modseq],
        *,
        savepoints: bool,
    ) -> None:
        """Raises _Spoiled when, without savepoints, an operation failed after it had begun to write."""
        db, now, retained = self._db, int(self._clock()), self._retained
        execute, changes = db.execute, db.total_changes
        execute("BEGIN IMMEDIATE")
        for operation, future in batch:
            work = Work(db, now, retained)
            before = changes()
            if savepoints:
                execute("SAVEPOINT operation")
            try:
                result = OPERATIONS[type(operation)](work, operation)
            except (*_LATCHING, apsw.FullError, *_PASSING):
                raise
            except Exception as error:
                if savepoints:
                    execute("ROLLBACK TO operation")
                elif changes() != before:
                    raise _Spoiled from error
                answers.append((future, None, error))
            else:
                answers.append((future, result, None))
                announced.update(work.announced)
            if savepoints:
                execute("RELEASE operation")
        execute("COMMIT")

    def _undo(self, batch: list[tuple[Operation, Any]], error: PostroomError) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except apsw.Error as second:
            self._latch(f"rollback: {second}")
        self._refuse(batch, error)

    def _refuse(self, batch: list[tuple[Operation, Any]], error: PostroomError) -> None:
        # One exception object each: a traceback grows wherever one is raised.
        kind = type(error)
        self._answer([(future, None, kind(private=error.private)) for _, future in batch], {})

    def _latch(self, reason: str) -> str:
        if self._failed is None:
            self._failed = f"shard: {reason}"
        return self._failed

    def _checkpoint(self) -> None:
        if self._failed:
            self._log_pages = 0
            return
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.BusyError, apsw.LockedError):
            pass  # a reader or a backup is at work; the next turn tries again
        except apsw.FullError:
            pass  # the log is still whole; the disk may get room
        except apsw.Error as error:
            self._latch(f"checkpoint: {error}")
        self._log_pages = 0

    def _end(self) -> None:
        try:
            self._db.close()
        except apsw.Error as error:
            self._latch(f"close: {error}")
        finally:
            os.close(self._lock)

    def _answer(self, answers: list[Answer], announced: dict[AccountId, Modseq]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver_answers, answers, announced)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _deliver_answers(self, answers: list[Answer], announced: dict[AccountId, Modseq]) -> None:
        for future, result, error in answers:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
        for account, modseq in announced.items():
            self._announce(account, modseq)


def _inline_octets(operation: Operation) -> int:
    if isinstance(operation, Deliver):
        return sum(content.blob.size for content in operation.contents)
    if isinstance(operation, Append):
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
