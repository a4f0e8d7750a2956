"""Networks that may not log in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from postroom.model.errors import InvalidName, NotAllowed
from postroom.store.directory import Directory
from postroom.store.directory_bans import Ban, BanBook, canonical_network
from postroom.store.directory_entries import NoSuchEntry
from tests.directory.conftest import CHEAP

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.7/24 ", "192.0.2.0/24"),
        ("2001:DB8::1/64", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("fe80::1%eth0", "fe80::1/128"),
    ],
)
def test_how_a_network_is_kept(text: str, kept: str) -> None:
    assert canonical_network(text) == kept


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::1", "::/0", "::ffff:127.0.0.1"])
def test_loopback_is_never_banned(text: str) -> None:
    with pytest.raises(NotAllowed):
        canonical_network(text)


@pytest.mark.parametrize("text", ["", "here", "192.0.2.0/33", "192.0.2", "2001:db8::/200"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(InvalidName):
        canonical_network(text)


def test_looking_up() -> None:
    book = BanBook(
        [
            Ban("192.0.2.0/24", NOW, None, "for ever"),
            Ban("198.51.100.7/32", NOW, NOW + 60, "a while"),
            Ban("2001:db8::/64", NOW, None, ""),
        ]
    )
    assert book.find("192.0.2.200", NOW) is not None
    assert book.find("::ffff:192.0.2.200", NOW) is not None
    assert book.find("192.0.3.1", NOW) is None
    assert book.find("198.51.100.7", NOW + 59) is not None
    assert book.find("198.51.100.7", NOW + 60) is None
    assert book.find("2001:db8::aaaa%eth0", NOW) is not None
    assert book.find("2001:db8:1::1", NOW) is None
    assert book.find("127.0.0.1", NOW) is None
    assert book.find("", NOW) is None


def test_another_process_sees_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    one, other = Directory(path, CHEAP), Directory(path, CHEAP)
    assert other.ban_of("192.0.2.7", time.time()) is None
    one.add_ban("192.0.2.0/24", 3600, "because")
    found = other.ban_of("192.0.2.7", time.time())
    assert found is not None
    assert (found.network, found.reason) == ("192.0.2.0/24", "because")
    one.add_ban("192.0.2.0/24", None)
    assert [ban.until for ban in other.bans()] == [None]
    other.remove_ban("192.0.2.0/24")
    assert one.ban_of("192.0.2.7", time.time()) is None
    with pytest.raises(NoSuchEntry):
        one.remove_ban("192.0.2.0/24")
    one.close()
    other.close()


def test_what_has_ended_is_swept_up(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "directory.sqlite", CHEAP)
    directory.add_ban("192.0.2.7", -1)
    assert directory.ban_of("192.0.2.7", time.time()) is None
    directory.add_ban("192.0.2.8", 60)
    assert [ban.network for ban in directory.bans()] == ["192.0.2.8/32"]
    directory.close()
