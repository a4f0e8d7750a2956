"""The mark moves with every commit of anybody, and with nothing else that matters."""

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
    count(reader)
    mark = CommitMark(path)
    mark.moved()
    for number in range(200):
        seen = [mark.moved()]
        writer.execute("INSERT INTO t VALUES (1)")
        seen.append(mark.moved())
        assert seen == [False, True]
        assert count(reader) == number + 1
    program = (
        "import apsw, sys; db = apsw.Connection(sys.argv[1]); db.set_busy_timeout(5000);"
        "db.execute('INSERT INTO t VALUES (2)')"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, str(path)], check=True)
        assert mark.moved()
    assert not mark.moved()
    assert count(reader) == 203


def test_after_a_checkpoint_and_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    reader, writer = connect(path), connect(path)
    count(reader)
    mark = CommitMark(path)
    mark.moved()
    for number in range(20):
        writer.execute("INSERT INTO t VALUES (1)")
        assert mark.moved()
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        mark.moved()
        assert count(reader) == number + 1


def test_what_is_rolled_back_need_not_move_it_and_nothing_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    reader, writer = connect(path), connect(path)
    count(reader)
    mark = CommitMark(path)
    mark.moved()
    writer.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (1); ROLLBACK")
    mark.moved()
    writer.execute("INSERT INTO t VALUES (1)")
    assert mark.moved()


def test_without_an_index_everything_counts_as_changed(tmp_path: Path) -> None:
    mark = CommitMark(tmp_path / "nothing.sqlite")
    assert mark.moved()
    assert mark.moved()
    path = tmp_path / "db.sqlite"
    keeper = connect(path)
    mark = CommitMark(path)
    assert mark.moved()
    answers = [mark.moved()]
    mark.close()
    answers.append(mark.moved())
    mark.close()
    assert answers == [False, True]
    keeper.close()
