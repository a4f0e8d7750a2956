"""The import's journal: what counts as done after any interruption."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.cli.journal import Journal, Unfinished, journal_path


def test_done_is_what_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        assert journal.done == set()
        journal.begin(["a", "b"], "INBOX", 1, "d1")
        journal.end()
        journal.begin(["c"], "INBOX", 3, "d2")
        journal.end(stored=False)
        journal.begin(["d"], "Sent", 7, "d3")
    with Journal(path) as journal:
        assert journal.done == {"a", "b"}
        assert journal.unfinished == Unfinished(("d",), "Sent", 7, "d3")
        journal.end()
    with Journal(path) as journal:
        assert journal.done == {"a", "b", "d"}
        assert journal.unfinished is None


def test_any_cut_leaves_a_prefix(tmp_path: Path) -> None:
    """A power cut may leave any prefix of the file: what has an end in it is done, and writing goes on cleanly."""
    whole = tmp_path / "whole"
    with Journal(whole) as journal:
        for number in range(4):
            journal.begin([f"k{number}"], "INBOX", number + 1, f"d{number}")
            journal.end()
    content = whole.read_bytes()
    ends = [at for at in range(len(content) + 1) if content[:at].endswith(b'{"end":true}\n')]
    for cut in range(len(content) + 1):
        path = tmp_path / "cut"
        path.write_bytes(content[:cut])
        with Journal(path) as journal:
            assert len(journal.done) == sum(end <= cut for end in ends)
            if journal.unfinished is not None:
                journal.end(stored=False)
            journal.begin(["new"], "INBOX", 9, "d")
            journal.end()
        with Journal(path) as journal:
            assert "new" in journal.done
            assert len(journal.done) == sum(end <= cut for end in ends) + 1


@pytest.mark.parametrize(
    "noise", [b"nonsense\n", b'{"end":true}\n{"begin":1}\n', b"[]\n", b'{"begin":["a"]}\n']
)
def test_noise_is_cut_off(tmp_path: Path, noise: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(noise)
    with Journal(path) as journal:
        assert journal.done == set()
        assert journal.unfinished is None


def test_each_source_and_place_has_its_own(tmp_path: Path) -> None:
    names = {
        journal_path(tmp_path, source, account, mailbox)
        for source in (tmp_path / "a", tmp_path / "b")
        for account in ("anna@example.test", "bob@example.test")
        for mailbox in ("INBOX", "Old")
    }
    assert len(names) == 8
    assert journal_path(tmp_path, tmp_path / "x" / ".." / "a", "anna@example.test", "INBOX") in names
