"""The directory's schema and its migrations. ``PRAGMA user_version`` counts the migrations applied.

Invariants: a migration runs in one transaction with its version, so a crash leaves the old or the new schema; one that
was ever released is not changed any more. A file of a newer version is refused, not touched.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import apsw

from postroom.model.errors import Unavailable
from postroom.store.sql.connection import keep_plans

_V1: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('fake key', randomblob(32));
CREATE TABLE shard (id INTEGER PRIMARY KEY) STRICT;
INSERT INTO shard VALUES (1);
CREATE TABLE domain (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    catch_all TEXT
) STRICT;
CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain INTEGER NOT NULL REFERENCES domain,
    name TEXT NOT NULL UNIQUE,
    shard INTEGER NOT NULL REFERENCES shard,
    quota INTEGER NOT NULL CHECK (quota >= 0),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    password TEXT NOT NULL,
    scram_salt BLOB,
    scram_iterations INTEGER,
    scram_stored BLOB,
    scram_server BLOB
) STRICT;
CREATE INDEX account_domain ON account (domain, name);
CREATE INDEX account_shard ON account (shard);
CREATE TABLE alias (
    id INTEGER PRIMARY KEY,
    domain INTEGER NOT NULL REFERENCES domain,
    address TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX alias_domain ON alias (domain, address);
CREATE TABLE alias_target (
    alias INTEGER NOT NULL REFERENCES alias ON DELETE CASCADE,
    n INTEGER NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (alias, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE sender (
    account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    address TEXT NOT NULL,
    PRIMARY KEY (account, address)
) STRICT, WITHOUT ROWID;
"""

_V2: Final = """
CREATE TABLE scram_sha1 (
    account INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored BLOB NOT NULL,
    server BLOB NOT NULL
) STRICT;
CREATE TABLE shared_secret (
    account INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE app_password (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    label TEXT NOT NULL,
    protocols TEXT NOT NULL,
    password TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    UNIQUE (account, label)
) STRICT;
CREATE TABLE ban (
    network TEXT PRIMARY KEY,
    created INTEGER NOT NULL,
    until INTEGER,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""What logs in beside the password: keys of SCRAM-SHA-1, secrets that are sealed rather than hashed (CRAM-MD5, APOP), app
passwords; and the networks that may not log in. Times are seconds since 1970; a NULL end is never."""

MIGRATIONS: Final[tuple[str, ...]] = (_V1, _V2)
VERSION: Final = len(MIGRATIONS)
_BUSY_MS: Final = 10_000
_RETRY_MS: Final = 20


def connect(path: Path) -> apsw.Connection:
    """Open (or make) the file with the settings every connection to it has: WAL, FULL, foreign keys."""
    if not path.exists():
        # Hashes of passwords: for the owner's eyes only, from the first octet.
        path.touch(mode=0o600)
    db = apsw.Connection(str(path))
    keep_plans(db)
    db.set_busy_timeout(_BUSY_MS)
    _use_wal(db)
    db.execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
    return db


def _use_wal(db: apsw.Connection) -> None:
    """Switch to WAL. Of processes that open a new file at once all but one find it locked, and SQLite's own waiting does
    not cover this change of mode."""
    for attempt in range(_BUSY_MS // _RETRY_MS, -1, -1):
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except apsw.BusyError:
            if not attempt:
                db.close()
                raise
            time.sleep(_RETRY_MS / 1000)


def migrate(db: apsw.Connection) -> None:
    """Bring the schema up to date. Raises Unavailable for a file of a newer version."""
    if _version(db) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _version(db)
        if version > VERSION:
            raise Unavailable(private=f"directory has schema {version}, this program knows {VERSION}")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            db.execute(script)
            db.execute(f"PRAGMA user_version = {number}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _version(db: apsw.Connection) -> int:
    version = db.execute("PRAGMA user_version").fetchall()[0][0]
    assert isinstance(version, int)
    return version
