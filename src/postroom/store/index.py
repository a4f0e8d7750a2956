"""The full-text index of a shard, in a database of its own: which messages may contain a text.

Purpose: ``index_some`` follows the shard in small steps, in a process of low priority; ``candidates`` narrows a search, in any
process. The search itself has the last word: the index never decides that a message matches.

Invariants:
- A message that contains the text is a candidate, always: what is not indexed yet, what is too long and what could not be
  read are candidates of every search. So a stale, damaged or missing index only makes a search slower.
- Contents are indexed in the order of their ids, which are never given twice; ``reached`` and the index are written in one
  transaction.
- The index is derived: one of another version, or one that knows more than its shard (restored from a backup), is made anew.

How: FTS5 with trigrams and ``detail=none`` (three characters each, no positions), of all the text that IMAP's SEARCH may
look into, folded. A needle's trigrams are looked up together; needles under three characters cannot be helped.

It must not know: mailboxes, flags, protocols.
"""

from __future__ import annotations

import json
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw

from postroom.mime.facts import FACTS_VERSION
from postroom.mime.header import iter_fields, unfold_block
from postroom.mime.structure import load_structure
from postroom.mime.text import fold, search_text
from postroom.mime.words import decode_words
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId
from postroom.store.search import CandidateSource
from postroom.store.sql.connection import connect_reader, keep_plans

LONGEST: Final = 4 << 20
"""Characters of text up to which a message is indexed."""
LARGEST: Final = 32 << 20
"""Octets of a message up to which its text is looked at."""
MOST_CANDIDATES: Final = 20_000
"""Beyond, a text is too common for the index to help."""
MOST_TRIGRAMS: Final = 48
"""Of a long needle these many are looked up: the fewer of them there are, the fewer messages come back falsely."""
SWEPT: Final = 500
"""Contents looked at in one step for having gone."""

VERSION: Final = f"1/{FACTS_VERSION}/{unicodedata.unidata_version}"
"""Changes with everything that the indexed text depends on."""

_SCHEMA: Final = (
    "CREATE TABLE state (version TEXT NOT NULL, reached INTEGER NOT NULL, swept INTEGER NOT NULL) STRICT",
    "CREATE TABLE indexed (content INTEGER PRIMARY KEY) STRICT",
    "CREATE TABLE always (content INTEGER PRIMARY KEY) STRICT",
    (
        "CREATE VIRTUAL TABLE grams USING fts5 (body, content='', contentless_delete=1, detail=none, "
        "tokenize='trigram case_sensitive 1')"
    ),
)
_CLAUSE: Final = (
    "(SELECT x.content > ? OR x.content IN (SELECT value FROM json_each(?)) FROM message x "
    "WHERE x.key = (e.account << 32 | e.message))"
)


def indexed_text(octets: bytes, structure: bytes) -> str:
    """Every text that a search may find in a message, folded: header and body as TEXT sees them, and the value of each field
    of the header as HEADER sees it, where that differs. Raises ValueError for a structure that cannot be read."""
    root = load_structure(structure)
    text = search_text(octets, root)
    more = []
    header = octets[root.header : root.body]
    for field in iter_fields(header):
        value = fold(decode_words(unfold_block(header[field.value : field.end]).strip()))
        if value not in text:
            more.append(value)
    return "\n".join((text, *more))


def _storable(text: str) -> str:
    # NUL ends a text for SQLite's tokenizer, lone surrogates are no UTF-8; needles with either are not looked up.
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def trigrams(needle: str) -> list[str]:
    """Those of a folded needle that the index can look up; empty when it cannot help."""
    if "\0" in needle or "\n" in needle or _storable(needle) != needle:
        return []
    grams = list(dict.fromkeys(needle[at : at + 3] for at in range(len(needle) - 2)))
    return grams[:: max(1, -(-len(grams) // MOST_TRIGRAMS))]


class SearchIndex:
    """The index at ``index_path`` of the shard at ``shard_path``; large messages are read from ``blobs_dir``.

    Nothing is opened before it is needed. One object belongs to one thread; only one process may call ``index_some``.
    """

    def __init__(self, shard_path: Path, index_path: Path, blobs_dir: Path | None = None) -> None:
        self._shard_path = shard_path
        self._path = index_path
        self._blobs = blobs_dir
        self._shard: apsw.Connection | None = None
        self._reading: apsw.Connection | None = None
        self._writing: apsw.Connection | None = None
        self._inode = 0

    def close(self) -> None:
        """Release everything; idempotent."""
        for db in (self._shard, self._reading, self._writing):
            if db is not None:
                db.close()
        self._shard = self._reading = self._writing = None

    # --- searching

    def source(self, account: AccountId) -> CandidateSource:
        """The index's help for searches of an account, as ``store.opening`` and ``store.search.plan`` take it."""
        return lambda needle: self.candidates(account, needle)

    def candidates(self, account: AccountId, needle: str) -> tuple[str, list[Any]] | None:  # noqa: ARG002
        """SQL about an entry ``e`` that holds for every message whose text may contain the folded needle, with its bindings;
        None when the index cannot help. Never raises."""
        grams = trigrams(needle)
        if not grams:
            return None
        query = " AND ".join(f'"{gram.replace(chr(34), chr(34) * 2)}"' for gram in grams)
        try:
            return self._look_up(query)
        except (apsw.Error, OSError, Unavailable, _UselessError):
            self._close_reading()
            return None

    def _look_up(self, query: str) -> tuple[str, list[Any]]:
        found = self._path.stat().st_ino
        if found != self._inode:
            self._close_reading()  # made anew
        db = self._reading
        if db is None:
            db = self._reading = self._open_reading()
            self._inode = found
        db.execute("BEGIN")
        try:
            version, reached, _ = _state(db)
            if version != VERSION or reached > self._newest():
                raise _UselessError
            ids = [row[0] for row in db.execute(_MATCHING, (query, MOST_CANDIDATES + 1))]
            if len(ids) > MOST_CANDIDATES:
                return "1", []
            ids += [row[0] for row in db.execute("SELECT content FROM always")]
        finally:
            db.execute("COMMIT")
        return _CLAUSE, [reached, json.dumps(ids)]

    def _open_reading(self) -> apsw.Connection:
        db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        keep_plans(db)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.set_busy_timeout(_BUSY_MS)
        db.execute("PRAGMA query_only = 1")
        return db

    def _close_reading(self) -> None:
        """The file may be made anew: the next search looks for it again."""
        db, self._reading = self._reading, None
        if db is not None:
            with suppress(apsw.Error):
                db.close()

    # --- following the shard

    def index_some(self, budget: int = 100) -> bool:
        """Index up to ``budget`` messages that are new, or, when there are none, forget some that have gone. Returns whether
        there are more to index at once. Raises Unavailable when shard or index cannot be used now."""
        try:
            db = self._open_writing()
            return self._index(db, budget)
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.ConstraintError, _UselessError):
            self._remove()
            return True
        except (apsw.Error, OSError) as error:
            self.close()
            raise Unavailable(private=f"index {self._path.name}: {error}") from error

    def _index(self, db: apsw.Connection, budget: int) -> bool:
        version, reached, swept = _state(db)
        if version != VERSION or reached > self._newest():
            self._remove()
            return True
        new = self._shard_rows(_NEW, (reached, budget))
        if not new:
            self._sweep(db, swept)
            return False
        with db:
            for content, size, file, octets, structure in new:
                self._add(db, content, self._text(size, file, octets, structure))
            db.execute("UPDATE state SET reached = ?", (new[-1][0],))
        return len(new) == budget

    @staticmethod
    def _add(db: apsw.Connection, content: int, text: str | None) -> None:
        db.execute("INSERT INTO indexed VALUES (?)", (content,))
        if text is None:
            db.execute("INSERT INTO always VALUES (?)", (content,))
        else:
            db.execute("INSERT INTO grams (rowid, body) VALUES (?, ?)", (content, text))

    def _text(self, size: int, file: str | None, octets: bytes | None, structure: bytes | None) -> str | None:
        """What to index; None for what shall be a candidate always."""
        if structure is None or size > LARGEST:
            return None
        try:
            if octets is None:
                if self._blobs is None or file is None:
                    return None
                octets = (self._blobs / file).read_bytes()
            text = indexed_text(octets, structure)
        except (OSError, ValueError):
            return None
        return _storable(text) if len(text) <= LONGEST else None

    def _sweep(self, db: apsw.Connection, swept: int) -> None:
        """Forget contents that have gone, a few at a time, round and round."""
        known = [row[0] for row in db.execute(_NEXT_INDEXED, (swept, SWEPT))]
        there = {row[0] for row in self._shard_rows(_STILL_THERE, (json.dumps(known),))}
        gone = [(content,) for content in known if content not in there]
        following = known[-1] if len(known) == SWEPT else 0
        if not gone and following == swept:
            return
        with db:
            for statement in _FORGET:
                db.executemany(statement, gone)
            db.execute("UPDATE state SET swept = ?", (following,))

    def _open_writing(self) -> apsw.Connection:
        if self._writing is None:
            self._path.touch(mode=0o600)
            db = self._writing = apsw.Connection(str(self._path))
            keep_plans(db)
            db.set_busy_timeout(_BUSY_MS)
            db.execute("PRAGMA journal_mode = WAL")
            # A power cut may take the last steps back, which are then done again.
            db.execute("PRAGMA synchronous = NORMAL")
            if not db.execute("SELECT 1 FROM sqlite_schema").fetchall():
                with db:
                    for statement in _SCHEMA:
                        db.execute(statement)
                    db.execute("INSERT INTO state VALUES (?, 0, 0)", (VERSION,))
        return self._writing

    def _remove(self) -> None:
        """Begin anew; readers of the old file go on with it until they find it useless."""
        self.close()
        for suffix in ("-wal", "-shm", ""):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    # --- the shard

    def _shard_rows(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        """Raises Unavailable: what is wrong with the shard is not the index's fault."""
        try:
            if self._shard is None:
                self._shard = connect_reader(self._shard_path)
            return self._shard.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise Unavailable(private=f"{self._shard_path.name}: {error}") from error

    def _newest(self) -> int:
        """The highest content id ever given in the shard; 0 when it has none."""
        rows = self._shard_rows(_NEWEST)
        return rows[0][0] if rows else 0


def _state(db: apsw.Connection) -> tuple[str, int, int]:
    """Version, reached, swept. Raises _UselessError when there is none yet."""
    rows: list[Any] = db.execute("SELECT version, reached, swept FROM state").fetchall()
    if not rows:
        raise _UselessError
    version, reached, swept = rows[0]
    return version, reached, swept


class _UselessError(Exception):
    """There is no index here that could help now."""


_BUSY_MS: Final = 1_000
_MATCHING: Final = "SELECT rowid FROM grams WHERE grams MATCH ? LIMIT ?"
_NEWEST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'content'"
_NEW: Final = "SELECT id, size, file, octets, structure FROM content WHERE id > ? ORDER BY id LIMIT ?"
_NEXT_INDEXED: Final = "SELECT content FROM indexed WHERE content > ? ORDER BY content LIMIT ?"
_STILL_THERE: Final = "SELECT id FROM content WHERE id IN (SELECT value FROM json_each(?))"
_FORGET: Final = (
    "DELETE FROM grams WHERE rowid = ?",
    "DELETE FROM always WHERE content = ?",
    "DELETE FROM indexed WHERE content = ?",
)
