"""App passwords in the directory."""

from __future__ import annotations

import time

import pytest

from postroom.model.errors import InvalidName, LimitExceeded
from postroom.store import app_passwords
from postroom.store.directory import Directory
from postroom.store.directory_app_passwords import MOST
from postroom.store.directory_entries import EntryExists, NoSuchEntry

ANNA = "anna@example.org"


@pytest.fixture
def anna(directory: Directory) -> Directory:
    directory.add_account(ANNA, "correct horse battery")
    return directory


def fits(directory: Directory, password: str, service: str, later: float = 0) -> bool:
    return directory.credentials(ANNA).has_app_password(password, service, time.time() + later)


def test_made_used_revoked(anna: Directory) -> None:
    made = anna.add_app_password(ANNA, "telephone", ["imap", "submission"], 3600)
    assert len(made.password.replace("-", "")) == 26
    assert fits(anna, made.password, "imap")
    assert fits(anna, made.password.upper().replace("-", " "), "submission")
    assert not fits(anna, made.password, "pop3")
    assert not fits(anna, made.password, "")
    assert not fits(anna, made.password + "x", "imap")
    assert not fits(anna, made.password, "imap", later=3601)
    (kept,) = anna.app_passwords(ANNA)
    assert made.password not in repr(kept)
    assert (kept.label, kept.protocols) == ("telephone", ("imap", "submission"))
    anna.revoke_app_password(ANNA, "telephone")
    assert not fits(anna, made.password, "imap")
    with pytest.raises(NoSuchEntry):
        anna.revoke_app_password(ANNA, "telephone")


def test_it_is_not_in_the_file(anna: Directory) -> None:
    made = anna.add_app_password(ANNA, "telephone")
    for file in anna._path.parent.iterdir():
        octets = file.read_bytes()
        assert made.password.encode() not in octets
        assert made.password.replace("-", "").encode() not in octets


def test_refusals(anna: Directory) -> None:
    anna.add_app_password(ANNA, "one")
    with pytest.raises(EntryExists):
        anna.add_app_password(ANNA, "one")
    for label, protocols in (
        ("", ["imap"]),
        ("x" * 65, ["imap"]),
        ("a\nb", ["imap"]),
        ("two", []),
        ("two", ["ftp"]),
    ):
        with pytest.raises(InvalidName):
            anna.add_app_password(ANNA, label, protocols)
    with pytest.raises(NoSuchEntry):
        anna.add_app_password("nobody@example.org", "one")
    with pytest.raises(NoSuchEntry):
        anna.app_passwords("nobody@example.org")
    for number in range(MOST - 1):
        anna.add_app_password(ANNA, f"more {number}")
    with pytest.raises(LimitExceeded):
        anna.add_app_password(ANNA, "too many")


def test_they_go_with_the_account(anna: Directory) -> None:
    made = anna.add_app_password(ANNA, "one")
    anna.remove_account(ANNA)
    anna.add_account(ANNA, "correct horse battery")
    assert not fits(anna, made.password, "imap")


def test_no_two_are_the_same() -> None:
    assert len({app_passwords.make_password() for _ in range(1_000)}) == 1_000
