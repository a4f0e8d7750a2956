"""``postroom mailbox uidl import``, and what POP3 makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from postroom.app.pop3 import UniqueIdFiles
from postroom.cli.exits import Exit
from postroom.model.errors import InvalidName, Unavailable
from postroom.model.ids import AccountId, UidValidity
from postroom.session.pop3.uniqueids import check_unique_id
from tests.cli.commands import Run

ANNA = "anna@example.test"
VALIDITY = UidValidity(1_700_000_000)


@pytest.fixture
def mail(run: Run, ready: Path, tmp_path: Path) -> Path:
    """INBOX of anna with four messages, two of them with the same Message-ID."""
    assert run("account", "add", ANNA, "--password-stdin", stdin="correct horse battery\n").code == 0
    folder = tmp_path / "mails"
    folder.mkdir()
    for number, message_id in enumerate(("a@x", "b@x", "same@x", "same@x")):
        (folder / f"{number}.eml").write_text(
            f"From: x@y.test\nMessage-ID: <{message_id}>\nSubject: {number}\n\ntext {number}\n"
        )
    assert run("import", ANNA, str(folder)).code == 0
    return ready


def imported(run: Run, tmp_path: Path, text: str) -> tuple[int, dict[str, object]]:
    file = tmp_path / "ids.csv"
    file.write_text(text)
    done = run("mailbox", "uidl", "import", ANNA, str(file), "--json")
    return done.code, json.loads(done.out) if done.out else {}


def kept(data: Path) -> dict[int, str]:
    (file,) = (data / "pop3-unique-ids").iterdir()
    import msgspec

    _, validity, ids = msgspec.msgpack.decode(file.read_bytes())
    assert UniqueIdFiles(file.parent).load(AccountId(int(file.name)), validity) == ids
    assert UniqueIdFiles(file.parent).load(AccountId(int(file.name)), UidValidity(validity + 1)) == {}
    return dict(ids)


def test_by_message_id_and_by_uid(run: Run, mail: Path, tmp_path: Path) -> None:
    code, told = imported(run, tmp_path, "message_id,uidl\na@x,one\n<b@x>,two\nsame@x,three\nnone@x,four\n")
    assert code == Exit.FOUND
    assert told["kept"] == 2
    assert len(told["complaints"]) == 2  # type: ignore[arg-type]
    assert sorted(kept(mail).values()) == ["one", "two"]
    code, told = imported(run, tmp_path, "uid,uidl\n3,three\n4,one\n5,five\n")
    assert (code, told["kept"]) == (Exit.FOUND, 1)
    assert "another message" in str(told["complaints"])
    code, told = imported(run, tmp_path, "uid,uidl\n1,new\n")
    assert code == Exit.OK
    assert kept(mail)[1] == "new"
    assert len(kept(mail)) == 3


@pytest.mark.usefixtures("mail")
def test_files_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    for text in ("", "uid\n1\n", "uidl\nx\n", "uid,uidl,colour\n1,x,red\n"):
        assert imported(run, tmp_path, text)[0] == Exit.DATA
    assert run("mailbox", "uidl", "import", ANNA, str(tmp_path / "none.csv")).code == Exit.NO_INPUT


@pytest.mark.parametrize("text", ["", "a b", "x" * 71, "é", "a\n", f"{VALIDITY}.7"])
def test_what_is_no_unique_id(text: str) -> None:
    with pytest.raises(InvalidName):
        check_unique_id(text, VALIDITY)


@pytest.mark.parametrize("text", ["a", "x" * 70, "UID7-1700000000", f"{VALIDITY}", f"{VALIDITY}.x", "1.7"])
def test_what_is_one(text: str) -> None:
    assert check_unique_id(text, VALIDITY) == text


def test_a_damaged_file_is_not_taken_for_nothing(tmp_path: Path) -> None:
    files = UniqueIdFiles(tmp_path / "ids")
    assert files.load(AccountId(1), VALIDITY) == {}
    files.save(AccountId(1), VALIDITY, {1: "x"})
    assert files.load(AccountId(1), VALIDITY) == {1: "x"}
    (tmp_path / "ids" / "1").write_bytes(b"\xc1")
    with pytest.raises(Unavailable):
        files.load(AccountId(1), VALIDITY)
