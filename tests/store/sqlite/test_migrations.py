"""The schema's migrations: whole or not at all, wherever they stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from postroom.model.errors import Unavailable
from postroom.store.sql.connection import connect_writer
from postroom.store.sql.schema import MIGRATIONS, VERSION, migrate, schema_version

LATER = (
    *MIGRATIONS,
    ("ALTER TABLE mailbox ADD COLUMN colour TEXT", "UPDATE mailbox SET colour = 'red'"),
    ("CREATE TABLE later (account INTEGER PRIMARY KEY) STRICT",),
)


class Stop(Exception):
    """The process dies here."""


def statements(path: Path) -> int:
    """How many statements a whole migration runs."""
    seen: list[str] = []
    db = connect_writer(path)

    def trace(_: apsw.Cursor, sql: str, __: Any) -> bool:
        seen.append(sql)
        return True

    db.exec_trace = trace
    migrate(db, LATER)
    db.close()
    return len(seen)


def tables(db: apsw.Connection) -> set[str]:
    return {str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_a_crash_at_any_statement_leaves_a_whole_schema(tmp_path: Path) -> None:
    count = statements(tmp_path / "whole.sqlite")
    whole = connect_writer(tmp_path / "whole.sqlite")
    expected = tables(whole)
    whole.close()
    assert count > 20
    for stop in range(count):
        path = tmp_path / f"{stop}.sqlite"
        db = connect_writer(path)
        left = stop

        def trace(_: apsw.Cursor, __: str, ___: Any) -> bool:
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop
            return True

        db.exec_trace = trace
        with pytest.raises(Stop):
            migrate(db, LATER)
        # As after a crash: another process opens a copy of the files as they are.
        copy = tmp_path / f"{stop}-copy.sqlite"
        copy.write_bytes(path.read_bytes())
        log = path.with_name(path.name + "-wal")
        if log.exists():
            copy.with_name(copy.name + "-wal").write_bytes(log.read_bytes())
        again = connect_writer(copy)
        version = schema_version(again)
        assert version in range(len(LATER) + 1)
        if version == 0:
            assert tables(again) == set()
        elif version == VERSION:
            assert "later" not in tables(again)
            assert "colour" not in {row[1] for row in again.execute("PRAGMA table_info(mailbox)")}
        migrate(again, LATER)
        assert schema_version(again) == len(LATER)
        assert tables(again) == expected
        again.close()
        db.exec_trace = None
        db.close()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    db = connect_writer(tmp_path / "0.sqlite")
    migrate(db)
    before = tables(db)
    migrate(db)
    assert (schema_version(db), tables(db)) == (VERSION, before)
    db.close()


def test_a_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    db = connect_writer(tmp_path / "0.sqlite")
    migrate(db, LATER)
    with pytest.raises(Unavailable, match=f"schema {len(LATER)}"):
        migrate(db)
    assert schema_version(db) == len(LATER)
    db.close()


def test_every_connection_is_durable(tmp_path: Path) -> None:
    db = connect_writer(tmp_path / "0.sqlite")
    assert db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert db.execute("PRAGMA synchronous").fetchall() == [(2,)]
    assert (tmp_path / "0.sqlite").stat().st_mode & 0o777 == 0o600
    db.close()


def test_entries_get_columns_for_the_indexes(tmp_path: Path) -> None:
    db = connect_writer(tmp_path / "0.sqlite")
    migrate(db, MIGRATIONS[:1])
    for flags in range(32):
        db.execute("INSERT INTO entry VALUES (1, 1, ?, 1, ?, '', 0, 0, 9, 1, 1)", (flags + 1, flags))
    migrate(db)
    found = db.execute("SELECT flags, unseen, deleted FROM entry ORDER BY uid").fetchall()
    assert found == [(flags, int(not flags & 1), int(bool(flags & 8))) for flags in range(32)]
    # When they came into the mailbox is not known any more (RFC 8514).
    assert db.execute("SELECT DISTINCT saved FROM entry").fetchall() == [(None,)]
    db.close()
