"""Connections to a shard's file: how the owner and the readers open it.

Invariants:
- The owner holds an exclusive ``flock`` beside the file for as long as it lives: two servers never write one shard.
- Durability is WAL with ``synchronous=FULL``: a commit is on the disk when COMMIT returns. NORMAL loses acknowledged mail.
- Readers never write, never checkpoint, not even when they close.

It must not know: tables.

Page size, measured with bench/store_engine.py, groups of 32: 4 KiB 8,600 deliveries/s and 107 MB for 20,000 messages of 4 KB,
8 KiB 6,900/s and 180 MB (one such message to a page), 16 KiB 6,900/s with checkpoints of 200 ms.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import apsw

from postroom.model.errors import Unavailable
from postroom.store.durability import sync_directory

PAGE_SIZE: Final = 4096
SYNCHRONOUS: Final = "FULL"
_BUSY_MS: Final = 10_000
_LOG_OCTETS: Final = 64 << 20
"""What a write-ahead log is cut to once everything in it is in the file."""
_WRITER_CACHE_KIB: Final = 32 * 1024
_READER_CACHE_KIB: Final = 8 * 1024


def lock_file(path: Path) -> int:
    """Take the owner's lock of the shard at ``path``; returns the descriptor that holds it. Raises Unavailable, OSError."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(private=f"{path} is in use by another process") from error
    return descriptor


def keep_plans(db: apsw.Connection) -> None:
    """Plan a statement once, whatever is bound to it later (SQLite's "query planner stability guarantee").

    Without it a library built with STAT4 parses and plans every statement with a bound range or LIMIT anew each time it is run: a
    range of ten rows 7.0 microseconds instead of 2.3, a fifth of the CPU time of POP3's RETR.
    """
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def connect_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open or make the file for its owner. Raises apsw.Error, OSError."""
    made = not path.exists()
    if made:
        path.touch(mode=0o600)
    db = apsw.Connection(str(path), vfs=vfs)
    keep_plans(db)
    db.set_busy_timeout(_BUSY_MS)
    if made:
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    mode = db.execute("PRAGMA journal_mode = WAL").fetchall()[0][0]
    if mode != "wal":
        raise Unavailable(private=f"{path}: no write-ahead log on this file system (journal mode {mode})")
    db.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    # Checkpoints are the writer thread's own, between commits.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA journal_size_limit = {_LOG_OCTETS}")
    db.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
    db.execute("PRAGMA temp_store = MEMORY")
    if made:
        sync_directory(path.parent)
    return db


def connect_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open an existing file for reading, in any process. Raises apsw.Error.

    The connection may write to the WAL's index (it must be able to recover it), hence not SQLITE_OPEN_READONLY.
    """
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    keep_plans(db)
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.set_busy_timeout(_BUSY_MS)
    db.execute("PRAGMA query_only = 1")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
    return db
