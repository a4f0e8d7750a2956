"""Import and export through the command line and a real store: octets, dates, flags, and interruptions."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from postroom.cli.exits import Exit
from postroom.cli.formats import eml, maildir, mbox
from postroom.cli.formats.archived import ArchivedMessage, Item
from postroom.cli.importing import Importer
from postroom.cli.journal import Journal
from postroom.model.errors import Unavailable
from postroom.model.flags import SystemFlag
from tests import corpus
from tests.cli.commands import Run

ACCOUNT = "anna@example.test"
SAMPLE = 150
"""Real messages that are imported, spread over the corpus."""


@pytest.fixture
def account(run: Run, ready: Path) -> str:
    assert run("init", "--account", ACCOUNT).code == 0
    return ACCOUNT


def sample() -> list[ArchivedMessage]:
    messages = corpus.messages()
    chosen = messages[:: max(1, len(messages) // SAMPLE)]
    return [
        ArchivedMessage(
            ("", "Lists/python", "Ünïcödé & more")[number % 3],
            "",
            octets,
            1_000_000_000 + number,
            0,
            SystemFlag(number % 32),
            ("$Forwarded",) if number % 5 == 0 else (),
        )
        for number, (_, octets) in enumerate(chosen)
        if b"\n" in octets
    ]


def digest(item: Item) -> tuple[str, str, int | None, SystemFlag, tuple[str, ...]]:
    assert isinstance(item, ArchivedMessage)
    octets = hashlib.sha256(item.octets).hexdigest()
    return item.folder, octets, item.internal_date, item.flags, item.keywords


def as_exported(items: list[ArchivedMessage]) -> Counter[object]:
    """What an export is expected to hold: INBOX is a folder of its own in a folder of .eml files."""
    return Counter(digest(item) for item in items)


def write_maildir(root: Path, items: list[ArchivedMessage]) -> None:
    from postroom.wire.imap.values.mailbox import encode_mailbox

    maildir.MaildirFolder(root).make()
    for number, item in enumerate(items):
        name = maildir.folder_directory(item.folder, lambda level: encode_mailbox(level).decode())
        folder = maildir.MaildirFolder(root / name if item.folder else root)
        folder.make()
        folder.write(item, f"{number:06}.old")


def read_maildir(root: Path) -> Counter[object]:
    from postroom.wire.imap.values.mailbox import decode_mailbox

    return Counter(
        digest(each) for each in maildir.read_maildir(root, lambda name: decode_mailbox(name.encode()))
    )


def test_everything_comes_along_both_ways(run: Run, account: str, tmp_path: Path) -> None:
    items = sample()
    write_maildir(tmp_path / "old", items)
    done = run("import", account, str(tmp_path / "old"), "--json")
    assert (done.code, done.json) == (0, {"added": len(items), "present": 0, "skipped": []})

    assert run("export", account, str(tmp_path / "new"), "--json").json == {
        "written": len(items),
        "present": 0,
    }
    assert read_maildir(tmp_path / "new") == as_exported(items)

    run("export", account, str(tmp_path / "eml"), "--format", "eml")
    found = Counter(digest(each) for each in eml.read_eml(tmp_path / "eml"))
    in_folders = [(("INBOX", *digest(item)[1:]) if not item.folder else digest(item)) for item in items]
    assert found == Counter(in_folders)

    run("export", account, str(tmp_path / "inbox.mbox"), "--format", "mbox", "--mailbox", "INBOX")
    read = mbox.read_mbox((tmp_path / "inbox.mbox").read_bytes())
    assert Counter(map(digest, read)) == as_exported([item for item in items if not item.folder])
    assert run("fsck", "--deep").code == 0


@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_importing_again_adds_nothing(run: Run, account: str, tmp_path: Path, kind: str) -> None:
    run("import", account, str(write(tmp_path, kind)))
    before = run("mailbox", "list", account, "--json").json
    done = run("import", account, str(tmp_path / kind), "--json")
    assert done.json == {"added": 0, "present": 9, "skipped": []}
    assert run("mailbox", "list", account, "--json").json == before


def write(tmp_path: Path, kind: str) -> Path:
    """Nine small messages, two of them alike, in an archive."""
    items = [
        ArchivedMessage("", "", f"Subject: {n % 8}\r\n\r\ntext\r\n".encode(), 1_000_000_000 + n)
        for n in range(9)
    ]
    target = tmp_path / kind
    match kind:
        case "maildir":
            write_maildir(target, items)
        case "mbox":
            target.write_bytes(b"".join(map(mbox.mbox_record, items)))
        case _:
            folder = eml.EmlFolder(target)
            folder.make()
            for number, item in enumerate(items):
                folder.write(item, f"{number}")
    return target


@pytest.mark.parametrize("moment", ["before", "stored", "after"])
@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_an_interrupted_import_goes_on(
    run: Run, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, kind: str
) -> None:
    """Interrupted before the store's commit, between it and the journal's end mark, and after that."""
    source = write(tmp_path, kind)
    monkeypatch.setattr("postroom.cli.importing.BATCH_MESSAGES", 2)
    flush, end = Importer.flush, Journal.end
    batches = 0

    async def interrupted_flush(self: Importer) -> None:
        nonlocal batches
        batches += 1
        if batches == 3 and moment == "before":
            raise Unavailable
        await flush(self)
        if batches == 3 and moment == "after":
            raise Unavailable

    def interrupted_end(self: Journal, *, stored: bool = True) -> None:
        if batches == 3 and moment == "stored":
            raise Unavailable
        end(self, stored=stored)

    with monkeypatch.context() as patch:
        patch.setattr(Importer, "flush", interrupted_flush)
        patch.setattr(Journal, "end", interrupted_end)
        assert run("import", account, str(source)).code == Exit.UNAVAILABLE
    done = run("import", account, str(source), "--json")
    assert done.code == 0
    assert done.json["added"] + done.json["present"] == 9
    (inbox,) = [each for each in run("mailbox", "list", account, "--json").json if each["name"] == "INBOX"]
    assert inbox["messages"] == 9


def test_import_into_a_mailbox(run: Run, account: str, tmp_path: Path) -> None:
    write_maildir(tmp_path / "old", sample()[:6])
    assert run("import", account, str(tmp_path / "old"), "--into", "Archive/Old").code == 0
    names = {each["name"]: each["messages"] for each in run("mailbox", "list", account, "--json").json}
    assert names["Archive/Old"] == 2
    assert names["Archive/Old/Lists/python"] == 2
    assert names["INBOX"] == 0


def test_messages_that_cannot_be_taken_are_told(
    run: Run, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_LIMITS_MESSAGE_SIZE", "65536")
    monkeypatch.setenv("POSTROOM_STORAGE_INLINE_BLOB_LIMIT", "1000")
    (tmp_path / "eml").mkdir()
    (tmp_path / "eml" / "large.eml").write_bytes(b"Subject: x\r\n\r\n" + b"x" * 70_000)
    (tmp_path / "eml" / "small.eml").write_bytes(b"Subject: x\r\n\r\n")
    done = run("import", account, str(tmp_path / "eml"), "--json")
    assert done.code == Exit.FOUND
    assert done.json["added"] == 1
    assert "over the limit" in done.json["skipped"][0]["reason"]


def test_export_adds_what_is_new(run: Run, account: str, tmp_path: Path) -> None:
    run("import", account, str(write(tmp_path, "maildir")))
    for kind in ("maildir", "mbox", "eml"):
        target = str(tmp_path / f"out-{kind}")
        assert run("export", account, target, "--format", kind, "--json").json["written"] == 9
        assert run("export", account, target, "--format", kind, "--json").json == {"written": 0, "present": 9}
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "one.eml").write_bytes(b"Subject: new\r\n\r\n")
    run("import", account, str(tmp_path / "more"))
    for kind in ("maildir", "mbox", "eml"):
        target = str(tmp_path / f"out-{kind}")
        assert run("export", account, target, "--format", kind, "--json").json == {"written": 1, "present": 9}
    read = list(mbox.read_mbox((tmp_path / "out-mbox" / "INBOX.mbox").read_bytes()))
    assert len(read) == 10


def test_a_half_written_mbox_is_mended(run: Run, account: str, tmp_path: Path) -> None:
    run("import", account, str(write(tmp_path, "maildir")))
    target = tmp_path / "inbox.mbox"
    arguments = ("export", account, str(target), "--format", "mbox", "--mailbox", "INBOX", "--json")
    run(*arguments)
    whole = target.read_bytes()
    target.write_bytes(whole + b"From half a rec")
    run(*arguments)
    assert target.read_bytes() == whole


def test_export_does_not_touch_a_foreign_mbox(run: Run, account: str, tmp_path: Path) -> None:
    target = tmp_path / "inbox.mbox"
    target.write_bytes(b"From a Thu Nov 23 07:45:59 2026\n\n")
    done = run("export", account, str(target), "--format", "mbox", "--mailbox", "INBOX")
    assert done.code == Exit.EXISTS
    assert target.read_bytes() == b"From a Thu Nov 23 07:45:59 2026\n\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("import", "nobody@example.test", "."), Exit.NO_ENTRY),
        (("import", ACCOUNT, "absent"), Exit.NO_INPUT),
        (("import", ACCOUNT, "postroom-not-mbox"), Exit.DATA),
        (("export", "nobody@example.test", "out"), Exit.NO_ENTRY),
        (("export", ACCOUNT, "out", "--mailbox", "Nowhere"), Exit.NO_ENTRY),
        (("export", ACCOUNT, "out", "--format", "auto"), Exit.USAGE),
        (("export", ACCOUNT, "out.mbox", "--format", "mbox"), Exit.USAGE),
    ],
)
def test_what_cannot_be_done(
    run: Run, account: str, tmp_path: Path, arguments: tuple[str, ...], code: Exit
) -> None:
    (tmp_path / "postroom-not-mbox").write_bytes(b"hello")
    done = run(*arguments)
    assert done.code == code
    assert done.err


def test_mailboxes(run: Run, account: str) -> None:
    assert run("mailbox", "create", account, "Work/2026", "--use", "flagged").code == 0
    assert run("mailbox", "rename", account, "Work/2026", "Done").code == 0
    found = {each["name"]: each for each in run("mailbox", "list", account, "--json").json}
    assert found["Done"]["special_use"] == "\\Flagged"
    assert {"INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive"} <= set(found)
    assert run("mailbox", "delete", account, "Done").code == 0
    assert run("mailbox", "delete", account, "Done").code == Exit.NO_ENTRY
    assert run("mailbox", "create", account, "INBOX").code == Exit.EXISTS
    assert run("mailbox", "create", account, "x", "--use", "y").code == Exit.USAGE
    assert "INBOX" in run("mailbox", "list", account).out


def test_accounts_from_a_csv(run: Run, ready: Path, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "Email,Password,Quota,Enabled\n"
        "bob@example.test,a good password,2GB,yes\n"
        'carla@example.test,"with, comma and ""quotes""",,no\n'
        "short@example.test,short,,\n"
        "bob@example.test,a good password,,\n"
        "x@elsewhere.test,a good password,,\n"
        "y@example.test,a good password,much,\n"
        "\n"
        "zoe@example.test,a good password\n",
        encoding="utf-8-sig",
    )
    done = run("account", "import", str(path), "--json")
    assert done.code == Exit.FOUND
    assert done.json["added"] == ["bob@example.test", "carla@example.test", "zoe@example.test"]
    assert [each["line"] for each in done.json["refused"]] == [4, 5, 6, 7]
    assert "a good password" not in done.out
    listed = {each["name"]: each for each in run("account", "list", "--json").json}
    assert listed["bob@example.test"]["quota"] == 2_000_000_000
    assert listed["carla@example.test"]["enabled"] is False
    assert run("mailbox", "list", "zoe@example.test", "--json").json[0]["name"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "first line"),
        (b"name\nx@example.test\n", "first line"),
        (b"name,password,colour\n", "colour"),
        (b"name,name,password\n", "first line"),
        (b"name,password\n\xff,x\n", "UTF-8"),
        (b'name,password\n"open,x\n', "people.csv"),
    ],
)
def test_csv_files_that_make_no_sense(
    run: Run, ready: Path, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "people.csv").write_bytes(content)
    done = run("account", "import", "people.csv")
    assert done.code == Exit.DATA
    assert reason in done.err


def test_account_add_quota_and_remove(run: Run, ready: Path, tmp_path: Path) -> None:
    done = run("account", "add", "bob@example.test", "--generate", "--quota", "1MB", "--json")
    assert len(done.json["password"]) == 23
    assert run("account", "list", "--usage", "--json").json[0] | {"id": 0} == {
        "name": "bob@example.test",
        "id": 0,
        "enabled": True,
        "quota": 1_000_000,
        "messages": 0,
        "octets": 0,
    }
    assert run("account", "quota", "bob@example.test", "10KB").code == 0
    (tmp_path / "eml").mkdir()
    for number in range(20):
        (tmp_path / "eml" / f"{number:02}.eml").write_bytes(b"Subject: x\r\n\r\n" + b"x" * 1000)
    refused = run("import", "bob@example.test", str(tmp_path / "eml"))
    assert refused.code == Exit.UNAVAILABLE
    assert run("account", "quota", "bob@example.test", "0").code == 0
    assert run("import", "bob@example.test", str(tmp_path / "eml"), "--json").json["added"] == 20
    assert run("account", "remove", "bob@example.test").code == Exit.NOT_ALLOWED
    assert "removed" in run("account", "remove", "bob@example.test", "--yes").out
    assert run("account", "list", "--json").json == []
    assert run("fsck", "--deep", "--json").json == {"clean": True, "problems": []}


def test_zone_of_the_date_is_kept_in_eml(run: Run, account: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.eml").write_bytes(b"Subject: x\r\n\r\n")
    entry = {
        "file": "a.eml",
        "date": 1234,
        "zone": -330,
        "flags": ["draft"],
        "keywords": ["work", "bad word"],
    }
    (tmp_path / "in" / "index.jsonl").write_text(json.dumps(entry) + "\n")
    os.utime(tmp_path / "in" / "a.eml", (99, 99))
    run("import", account, str(tmp_path / "in"))
    run("export", account, str(tmp_path / "out"), "--format", "eml")
    (item,) = eml.read_eml(tmp_path / "out")
    assert isinstance(item, ArchivedMessage)
    assert (item.internal_date, item.zone, item.flags, item.keywords) == (
        1234,
        -330,
        SystemFlag.DRAFT,
        ("work",),
    )
