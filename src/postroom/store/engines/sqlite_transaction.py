"""One transaction for many operations, and what becomes of them when something fails.

Invariants:
- An operation that fails (quota, no such mailbox) fails alone: operations refuse before they write, and should one fail later,
  the whole transaction is done again with a savepoint around each (always to have them would cost a fifth of the deliveries).
- An I/O error latches: that transaction and every later one end with Unavailable, ``failed`` says why. SQLite itself would go
  on. A full disk does not latch: nothing of that transaction is stored, and the next one may fit.
- One call at a time, from whichever thread.

It must not know: threads, event loops, who waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import apsw

from postroom.model.errors import PostroomError, StorageFull, Unavailable
from postroom.model.ids import AccountId, Modseq
from postroom.store.operations import Operation
from postroom.store.sql.operate import OPERATIONS
from postroom.store.sql.rows import RETAINED, Work

CHECKPOINT_PAGES: Final = 4_096
"""How much the log may grow between checkpoints that do not wait for idleness: 16 MiB."""
_BUSY_MS: Final = 10_000
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


class _Spoiled(Exception):
    """An operation failed half done, and there was no savepoint to go back to."""


class Group:
    """Operations of one transaction with the futures of those who wait, and how each ended."""

    __slots__ = ("announced", "answers", "batch", "performed")

    def __init__(self, batch: list[tuple[Operation, Any]]) -> None:
        self.batch = batch
        self.answers: list[tuple[Any, Any, BaseException | None]] = []
        """(future, result, error) of each operation."""
        self.announced: dict[AccountId, Modseq] = {}
        self.performed = False
        """Whether a transaction with them is open and waits for its commit."""

    def clear(self) -> None:
        """Forget what happened."""
        self.answers.clear()
        self.announced.clear()
        self.performed = False

    def refuse(self, error: PostroomError) -> None:
        """Nothing was stored, for this reason."""
        self.clear()
        kind = type(error)
        # One exception object each: a traceback grows wherever one is raised.
        self.answers.extend((future, None, kind(private=error.private)) for _, future in self.batch)


class Transactions:
    """The transactions of a writing connection. ``clock`` gives seconds since 1970."""

    def __init__(
        self, db: apsw.Connection, clock: Callable[[], float] = time.time, retained: int = RETAINED
    ) -> None:
        self._db = db
        self._clock = clock
        self._retained = retained
        self.failed: str | None = None
        """Why nothing is written any more, or None."""
        self.log_pages = 0
        """Length of the write-ahead log while something in it is not in the file yet, else 0; in pages."""
        self.log_limit = CHECKPOINT_PAGES
        """Length from which a checkpoint should not wait."""
        self.commits = 0
        """Transactions committed so far."""
        self.operations = 0
        """Operations in them."""
        db.set_wal_hook(self._note_log)

    def perform(self, group: Group, *, wait: bool = True) -> bool:
        """Do the operations in a transaction, which stays open. False, without effect, when somebody else has the file locked
        and ``wait`` is False."""
        if self.failed:
            group.refuse(Unavailable(private=self.failed))
            return True
        try:
            if not wait:
                self._db.set_busy_timeout(0)
            self._db.execute("BEGIN IMMEDIATE")
        except apsw.BusyError as error:
            if not wait:
                return False
            self._fail(group, error)
            return True
        except apsw.Error as error:
            self._fail(group, error)
            return True
        finally:
            self._db.set_busy_timeout(_BUSY_MS)
        try:
            try:
                self._operate(group, savepoints=False)
            except _Spoiled:
                group.clear()
                self._db.execute("ROLLBACK")
                self._db.execute("BEGIN IMMEDIATE")
                self._operate(group, savepoints=True)
            group.performed = True
        except Exception as error:  # noqa: BLE001 - sorted out by _fail
            self._fail(group, error)
        return True

    def commit(self, group: Group) -> None:
        """Make a performed group durable; does nothing for one that was refused."""
        if not group.performed:
            return
        try:
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - sorted out by _fail
            self._fail(group, error)
        else:
            self.commits += 1
            self.operations += len(group.batch)

    def checkpoint(self) -> None:
        """Bring the log into the file, as far as readers let it."""
        self.log_pages = 0
        if self.failed:
            return
        try:
            length, done = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            # While a long read needs the log it only grows: then not after every commit, but a stretch later.
            self.log_limit = length + CHECKPOINT_PAGES
            self.log_pages = length if done < length else 0
        except (apsw.BusyError, apsw.LockedError):
            pass  # a backup is at work; there will be another checkpoint
        except apsw.FullError:
            pass  # the log is still whole; the disk may get room
        except apsw.Error as error:
            self._latch(f"checkpoint: {error}")

    def close(self) -> None:
        """Check the log in and close the file."""
        try:
            self._db.close()
        except apsw.Error as error:
            self._latch(f"close: {error}")

    def _operate(self, group: Group, *, savepoints: bool) -> None:
        """Raises _Spoiled when, without savepoints, an operation failed after it had begun to write."""
        db, now, retained = self._db, int(self._clock()), self._retained
        execute, changes = db.execute, db.total_changes
        answers, announced = group.answers, group.announced
        for operation, future in group.batch:
            work = Work(db, now, retained)
            before = changes()
            if savepoints:
                execute("SAVEPOINT operation")
            try:
                result = OPERATIONS[type(operation)](work, operation)
            except (*_LATCHING, apsw.FullError, *_PASSING):
                raise
            except Exception as error:
                # A refusal or a bug: either concerns this operation alone.
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

    def _fail(self, group: Group, error: Exception) -> None:
        """Undo the transaction and tell everybody in it."""
        refusal: PostroomError
        text = f"shard: {type(error).__name__}: {error}"
        if isinstance(error, apsw.FullError):
            refusal = StorageFull(private=text)
        elif isinstance(error, _PASSING):
            refusal = Unavailable(private=text)
        else:
            # Not foreseen, perhaps no error of the disk at all: stop before anything worse happens.
            refusal = Unavailable(private=self._latch(text))
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except apsw.Error as second:
            self._latch(f"shard: rollback: {second}")
        group.refuse(refusal)

    def _latch(self, reason: str) -> str:
        if self.failed is None:
            self.failed = reason
        return self.failed

    def _note_log(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self.log_limit - CHECKPOINT_PAGES:
            self.log_limit = CHECKPOINT_PAGES  # it has begun anew
        self.log_pages = pages
        return apsw.SQLITE_OK
