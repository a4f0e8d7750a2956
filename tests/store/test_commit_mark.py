"""The mark moves with every commit of anybody else, and never otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw

from postroom.store.commit_mark import CommitMark


def connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("CREATE TABLE IF NOT EXISTS t (x)")
    return db


def count(db: apsw.Connection) -> int:
    value = db.execute("SELECT count(*) FROM t").fetchall()[0][0]
    assert isinstance(value, int)
    return value


def test_every_commit_moves_it_whoever_commits(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    reader, writer = connect(path), connect(path)
    mark = CommitMark()
    assert mark.moved(reader)
    for number in range(200):
        seen = [mark.moved(reader)]
        writer.execute("INSERT INTO t VALUES (1)")
        seen.append(mark.moved(reader))
        assert seen == [False, True]
        assert count(reader) == number + 1
    program = (
        "import apsw, sys; db = apsw.Connection(sys.argv[1]); db.set_busy_timeout(5000);"
        "db.execute('INSERT INTO t VALUES (2)')"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, str(path)], check=True)
        assert mark.moved(reader)
    assert not mark.moved(reader)
    assert count(reader) == 203


def test_after_a_checkpoint_and_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    reader, writer = connect(path), connect(path)
    mark = CommitMark()
    mark.moved(reader)
    for number in range(20):
        writer.execute("INSERT INTO t VALUES (1)")
        assert mark.moved(reader)
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        mark.moved(reader)
        assert count(reader) == number + 1


def test_what_is_rolled_back_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    reader, writer = connect(path), connect(path)
    mark = CommitMark()
    mark.moved(reader)
    writer.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (1); ROLLBACK")
    seen = [mark.moved(reader)]
    writer.execute("INSERT INTO t VALUES (1)")
    seen.append(mark.moved(reader))
    assert seen == [False, True]
