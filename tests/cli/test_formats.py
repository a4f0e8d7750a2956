"""Archives: what a writer wrote, its reader gives back; archives of other programs are understood."""

from __future__ import annotations

import mailbox
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from postroom.cli.formats import eml, maildir, mbox
from postroom.cli.formats.archived import ArchivedMessage, Skipped, header_date, with_mail_line_ends
from postroom.model.flags import SystemFlag
from tests import corpus

SIMPLE = b"From: a@example.test\r\nSubject: x\r\n\r\nBody\r\n"

flag_sets = st.integers(0, 31).map(SystemFlag)
keyword_sets = st.sets(st.sampled_from(["$Forwarded", "$Junk", "work", "Über"]), max_size=4).map(
    lambda words: tuple(sorted(words))
)
dates = st.integers(0, 2**32)
lines = st.sampled_from(
    [
        b"From x",
        b">From y",
        b">>From z Thu Nov 23 07:45:59 2026",
        b"From me Thu Nov 23 07:45:59 2026",
        b"",
        b"Status: RO",
        b"X-Status: F",
        b"X-Keywords: a",
        b"Subject: hello",
        b"text",
        b".",
        b"bare\nLF",
        b"caf\xc3\xa9 \xff\x00",
    ]
)
# Mail that came in over a protocol: lines end in CRLF, perhaps not the last; no bare CR at the end.
messages = st.tuples(
    st.lists(lines, min_size=1, max_size=8), st.sampled_from([b"\r\n", b"", b"\r\n\r\n", b"\n"])
).map(lambda parts: b"Header: x\r\n" + b"\r\n".join(parts[0]) + parts[1]) | st.lists(
    lines, min_size=1, max_size=5
).map(lambda parts: b"\r\n".join(parts).replace(b"\n", b"\r\n") + b"\r\n")


def is_mail(octets: bytes) -> bool:
    """Whether the first line ends in CRLF, so that a reader takes the octets as they are."""
    return with_mail_line_ends(octets) == octets


@given(st.lists(st.tuples(messages.filter(is_mail), flag_sets, keyword_sets, dates), max_size=5))
@example([(b"Status: RO\r\n\r\nmine\r\n", SystemFlag.NONE, (), 0)])
@example([(b"Subject: x\r\nX-Status: F\r\n\r\nmine\r\n", SystemFlag.SEEN, (), 0)])
@example([(b"X-Keywords: a\r\n\r\nmine\r\n", SystemFlag.SEEN, ("b",), 0)])
def test_mbox_round_trip(items: list[tuple[bytes, SystemFlag, tuple[str, ...], int]]) -> None:
    wrote = [
        ArchivedMessage("", "", octets, date, 0, flags, words)
        for octets, flags, words, date in items
        if b"\r" not in octets.replace(b"\r\n", b"")
    ]
    buffer = b"".join(mbox.mbox_record(message, "a@example.test") for message in wrote)
    read = list(mbox.read_mbox(buffer))
    assert [contents(each) for each in read] == [contents(each) for each in wrote]
    assert len({each.key for each in read}) == len(read)


def contents(message: object) -> tuple[bytes, int | None, SystemFlag, tuple[str, ...]]:
    assert isinstance(message, ArchivedMessage)
    return message.octets, message.internal_date, message.flags, message.keywords


def test_mbox_is_understood_by_the_standard_library(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    message = ArchivedMessage("", "", SIMPLE, 1_700_000_000, 0, SystemFlag.SEEN | SystemFlag.FLAGGED)
    path.write_bytes(mbox.mbox_record(message, "a@example.test") * 3)
    box = mailbox.mbox(path)
    assert len(box) == 3
    first = next(iter(box))
    assert set(first.get_flags()) == {"R", "O", "F"}
    assert first.get_from() == "a@example.test Tue Nov 14 22:13:20 2023"
    assert first["Subject"] == "x"
    box.close()


def test_mbox_of_other_programs() -> None:
    buffer = (
        b"\nFrom anna@example.test Thu Nov 23 07:45:59 2026 +0100\n"
        b"Subject: one\nStatus: RO\nX-Status: AF\nX-Keywords: b a\n\n"
        b"From here is not a separator, there is no empty line before it\n"
        b">From the sea\n"
        b"\n"
        b"From now on, neither: there is no date\n"
        b"\n"
        b"From - Thu Nov  5 07:45:59 2026\n"
        b"Date: Fri, 21 Nov 1997 09:55:06 -0600\n\nlast, without an empty line"
    )
    one, two = mbox.read_mbox(buffer, "Old")
    assert isinstance(one, ArchivedMessage)
    assert isinstance(two, ArchivedMessage)
    assert one.folder == "Old"
    assert one.octets.endswith(
        b"\r\n\r\nFrom here is not a separator, there is no empty line before it\r\n"
        b"From the sea\r\n\r\nFrom now on, neither: there is no date\r\n"
    )
    assert one.octets.startswith(b"Subject: one\r\nStatus: RO\r\n")
    assert one.flags == SystemFlag.SEEN | SystemFlag.ANSWERED | SystemFlag.FLAGGED
    assert one.keywords == ("a", "b")
    assert one.internal_date == 1_795_416_359
    assert two.octets.endswith(b"\r\n\r\nlast, without an empty line")


@pytest.mark.parametrize("text", [b"Subject: x\n\nFrom a", b"\x89PNG\r\n", b"from a"])
def test_what_is_not_an_mbox(text: bytes) -> None:
    with pytest.raises(ValueError, match="not an mbox"):
        list(mbox.read_mbox(text))


@pytest.mark.parametrize("text", [b"", b"\n\n", b"From x"])
def test_an_empty_mbox(text: bytes) -> None:
    assert list(mbox.read_mbox(text)) == []
    assert mbox.count_mbox(text) == 0


@given(st.binary(max_size=300))
def test_mbox_reader_takes_anything(noise: bytes) -> None:
    buffer = b"From a Thu Nov 23 07:45:59 2026\n" + noise
    assert len(list(mbox.read_mbox(buffer))) >= 1


def test_mbox_reader_is_linear() -> None:
    assert len(list(mbox.read_mbox(b"From a Thu Nov 23 07:45:59 2026\n\n" * 50_000))) == 50_000
    assert len(list(mbox.read_mbox(b"From a Thu Nov 23 07:45:59 2026\n" + b"\nFrom x\n" * 200_000))) == 1
    assert len(list(mbox.read_mbox(b"From a Thu Nov 23 07:45:59 2026\n" + b"Status: R\n" * 200_000))) == 1


@pytest.mark.parametrize(
    ("line", "stamp"),
    [
        (b"From x Thu Nov 23 07:45:59 2026", 1_795_419_959),
        (b"From x Thu Nov 23 07:45 2026", 1_795_419_900),
        (b"From x Thu Nov 23 07:45:59 CET 2026", 1_795_419_959),
        (b"From x Thu Nov 23 07:45:59 -0130 2026", 1_795_425_359),
        (b"From x@y Nov 23 2026", None),
        (b"From Nov to Dec 5 days passed", None),
        (b"From x Thu Nov 99 07:45:59 2026", None),
        (b"From x Thu Nov 23 27:45:59 2026", None),
        (b"From x", None),
    ],
)
def test_dates_of_from_lines(line: bytes, stamp: int | None) -> None:
    assert mbox.from_line_date(line) == stamp


def test_messages_over_the_limit_are_skipped() -> None:
    buffer = mbox.mbox_record(
        ArchivedMessage("", "", b"a: b\r\n\r\n" + b"x" * 100_000, 0)
    ) + mbox.mbox_record(ArchivedMessage("", "", SIMPLE, 0))
    large, small = mbox.read_mbox(buffer, limit=50_000)
    assert isinstance(large, Skipped)
    assert "over the limit" in large.reason
    assert isinstance(small, ArchivedMessage)


# --- Maildir


def plain_encode(name: str) -> str:
    return name.replace("&", "&-")


def plain_decode(name: str) -> str:
    if "!" in name:
        raise ValueError(name)
    return name.replace("&-", "&")


def write_maildir(root: Path, items: Sequence[ArchivedMessage]) -> None:
    maildir.MaildirFolder(root).make()
    for number, message in enumerate(items):
        where = root / maildir.folder_directory(message.folder, plain_encode) if message.folder else root
        folder = maildir.MaildirFolder(where)
        folder.make()
        folder.write(message, f"{number:06}.postroom")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "Sent", "a.b/c & d", "..."]),
            messages.filter(is_mail),
            flag_sets,
            keyword_sets,
            dates,
        ),
        max_size=4,
    )
)
def test_maildir_round_trip(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[str, bytes, SystemFlag, tuple[str, ...], int]]
) -> None:
    root = tmp_path_factory.mktemp("maildir")
    wrote = [
        ArchivedMessage(folder, "", octets, date, 0, flags, words)
        for folder, octets, flags, words, date in items
    ]
    write_maildir(root, wrote)
    read = list(maildir.read_maildir(root, plain_decode))
    assert sorted((each.folder, contents(each)) for each in read) == sorted(
        (each.folder, contents(each)) for each in wrote
    )


def test_maildir_is_understood_by_the_standard_library(tmp_path: Path) -> None:
    items = [
        ArchivedMessage("", "", SIMPLE, 1_700_000_000, 0, SystemFlag.SEEN | SystemFlag.ANSWERED),
        ArchivedMessage("Sent/2026", "", SIMPLE, 1_700_000_000),
    ]
    write_maildir(tmp_path, items)
    box = mailbox.Maildir(tmp_path, create=False)
    (message,) = list(box)
    assert set(message.get_flags()) == {"R", "S"}
    assert message.get_date() == 1_700_000_000
    assert box.list_folders() == ["Sent.2026"]


def test_maildir_of_other_programs(tmp_path: Path) -> None:
    for name in ("cur", "new", "tmp", ".Old.Lists/cur", ".b!d/cur", ".notmaildir", ".a..b/cur"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dovecot-keywords").write_text("0 $Forwarded\n1 work\nnonsense\n99 no\n")
    (tmp_path / "cur" / "1.M1.host,S=30,W=31:2,FSab").write_bytes(b"Subject: x\n\ntext\n")
    (tmp_path / "new" / "2.M2.host").write_bytes(SIMPLE)
    (tmp_path / "cur" / ".hidden").write_bytes(b"no")
    (tmp_path / "tmp" / "3.half").write_bytes(b"no")
    (tmp_path / "cur" / "4.link").symlink_to(tmp_path / "dovecot-keywords")
    (tmp_path / ".Old.Lists" / "cur" / "5:2,T").write_bytes(SIMPLE)
    os.utime(tmp_path / "new" / "2.M2.host", (1234, 1234))
    items = list(maildir.read_maildir(tmp_path, plain_decode))
    found = {each.key: each for each in items if isinstance(each, ArchivedMessage)}
    assert list(found) == ["/1.M1.host,S=30,W=31", "/2.M2.host", "Old/Lists/5"]
    first = found["/1.M1.host,S=30,W=31"]
    assert first.octets == b"Subject: x\r\n\r\ntext\r\n"
    assert (first.flags, first.keywords) == (SystemFlag.FLAGGED | SystemFlag.SEEN, ("$Forwarded", "work"))
    assert found["/2.M2.host"].internal_date == 1234
    assert found["Old/Lists/5"].flags == SystemFlag.DELETED
    assert {each.key for each in items if isinstance(each, Skipped)} == {".b!d", ".a..b"}


def test_a_maildir_key_survives_a_change_of_flags(tmp_path: Path) -> None:
    write_maildir(tmp_path, [ArchivedMessage("", "", SIMPLE, 0)])
    before = [each.key for each in maildir.read_maildir(tmp_path, plain_decode)]
    (name,) = (tmp_path / "cur").iterdir()
    name.rename(tmp_path / "cur" / "000000.postroom:2,S")
    assert [each.key for each in maildir.read_maildir(tmp_path, plain_decode)] == before


def test_what_is_not_a_maildir(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a Maildir"):
        list(maildir.read_maildir(tmp_path, plain_decode))


# --- .eml


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "Sent", "a.b/c & d", "../up", "50%/.hidden", "..", "%2F"]),
            messages.filter(is_mail),
            flag_sets,
            keyword_sets,
            dates,
            st.integers(-720, 840),
        ),
        max_size=4,
    )
)
def test_eml_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    items: list[tuple[str, bytes, SystemFlag, tuple[str, ...], int, int]],
) -> None:
    root = tmp_path_factory.mktemp("eml") / "inside"
    root.mkdir()
    wrote = [
        ArchivedMessage(folder, "", octets, date, zone, flags, words)
        for folder, octets, flags, words, date, zone in items
    ]
    for number, message in enumerate(wrote):
        folder = eml.EmlFolder(
            root.joinpath(*map(eml.folder_directory, filter(None, message.folder.split("/"))))
        )
        folder.make()
        folder.write(message, f"{number:06}")
    read = list(eml.read_eml(root))
    assert sorted((each.folder, zone_of(each), contents(each)) for each in read) == sorted(
        (each.folder, each.zone, contents(each)) for each in wrote
    )
    assert [each.name for each in root.parent.iterdir()] == ["inside"]


def zone_of(message: object) -> int:
    assert isinstance(message, ArchivedMessage)
    return message.zone


def test_eml_files_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "Work" / ".git").mkdir(parents=True)
    (tmp_path / "a.EML").write_bytes(b"Subject: x\n\ntext")
    (tmp_path / "notes.txt").write_bytes(b"no")
    (tmp_path / "Work" / "b.eml").write_bytes(SIMPLE)
    (tmp_path / "Work" / ".git" / "c.eml").write_bytes(SIMPLE)
    (tmp_path / "Work" / "index.jsonl").write_text(
        '{"file": "b.eml", "date": "soon", "zone": 99999, "flags": ["seen", "odd", 3], "keywords": "x"}\n'
        'half a li\n[1]\n{"file": 1}\n'
    )
    os.utime(tmp_path / "Work" / "b.eml", (99, 99))
    first, second = eml.read_eml(tmp_path)
    assert contents(first)[0] == b"Subject: x\r\n\r\ntext"
    assert second.folder == "Work"
    assert contents(second) == (SIMPLE, 99, SystemFlag.SEEN, ())
    assert zone_of(second) == 0


# --- shared


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"no line end", b"no line end"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\nb\r\nc", b"a\r\nb\r\nc"),
        (b"a\r\nb\nc\r\n", b"a\r\nb\nc\r\n"),
        (b"\n\n", b"\r\n\r\n"),
    ],
)
def test_line_ends(before: bytes, after: bytes) -> None:
    assert with_mail_line_ends(before) == after


@pytest.mark.parametrize(
    ("octets", "stamp"),
    [
        (b"Subject: x\r\nDATE: Fri, 21 Nov 1997 09:55:06 -0600\r\n\r\n", 880_127_706),
        (b"Subject: x\r\n\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n", None),
        (b"Date: soon\r\n\r\n", None),
        (b"Date: " + b"(" * 100_000, None),
        (b"Date: Fri, 99 Nov 99999 09:55:06 -0600\r\n", None),
    ],
)
def test_dates_of_headers(octets: bytes, stamp: int | None) -> None:
    assert header_date(octets) == stamp


# --- real messages


def test_real_messages_pass_through_mbox_octet_for_octet() -> None:
    wrote = [
        ArchivedMessage("", name, octets, 1_000_000 + n) for n, (name, octets) in enumerate(corpus.messages())
    ]
    buffer = b"".join(mbox.mbox_record(message) for message in wrote)
    read = list(mbox.read_mbox(buffer))
    assert len(read) == len(wrote) == mbox.count_mbox(buffer)
    changed = [
        before.key
        for before, after in zip(wrote, read, strict=True)
        if not isinstance(after, ArchivedMessage) or after.octets != before.octets
    ]
    # Without a single line end a message cannot be told from one of a system whose lines end in LF alone.
    assert all(b"\n" not in before.octets for before in wrote if before.key in changed)


def test_a_real_mbox_is_read_as_the_standard_library_does() -> None:
    shared = corpus.shared()
    if shared is None:
        return
    path = shared / "corpus" / "dovecot-crlf-100.mbox"
    box = mailbox.mbox(path, create=False)
    stamps = [each.get_from() for each in box]
    box.close()
    read = list(mbox.read_mbox(path.read_bytes()))
    assert len(read) == len(stamps)
    for item, stamp in zip(read, stamps, strict=True):
        assert isinstance(item, ArchivedMessage)
        assert item.internal_date == mbox.from_line_date(b"From " + stamp.encode())
        assert item.internal_date is not None
