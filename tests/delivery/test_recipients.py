"""Who is taken as a recipient, and where that leads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.delivery.recipients import MailboxDisabled, RecipientPolicy, accept_recipient
from postroom.model.address import Address
from postroom.model.errors import (
    LimitExceeded,
    NoSuchRecipient,
    PostroomError,
    QuotaExceeded,
    RelayDenied,
    Unavailable,
)
from postroom.model.ids import AccountId
from postroom.store.api import Usage
from postroom.store.directory import Directory
from tests.transcripts.smtp_scene import make_directory

ROUTED = RecipientPolicy(has_route=True)
TRUSTED = RecipientPolicy(may_relay=True, has_route=True)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    made.add_domain("example.edu")
    made.set_catch_all("example.edu", "bob@example.org")
    made.add_alias("half@example.org", ["carol@example.org", "alice@example.org"])
    made.add_alias("ring1@example.org", ["ring2@example.org"])
    made.add_alias("ring2@example.org", ["ring1@example.org"])
    for start in range(0, 1200, 100):
        made.add_alias(f"part{start}@example.org", [f"p{n}@example.net" for n in range(start, start + 100)])
    made.add_alias("everyone@example.org", [f"part{start}@example.org" for start in range(0, 1200, 100)])
    yield made
    made.close()


def empty(account: AccountId) -> Usage:
    return Usage(0, 0, 0)


def names(directory: Directory, text: str, policy: RecipientPolicy = ROUTED) -> tuple[list[str], list[str]]:
    local, _, domain = text.rpartition("@")
    taken = accept_recipient(Address(local, domain), directory, empty, policy)
    assert taken.address == Address(local, domain)
    return [account.name for account in taken.accounts], [str(address) for address in taken.remote]


@pytest.mark.parametrize(
    ("text", "accounts", "remote"),
    [
        ("alice@example.org", ["alice@example.org"], []),
        ("Alice@Example.ORG", ["alice@example.org"], []),
        ("alice+tag@example.org", ["alice@example.org"], []),
        ("both@example.org", ["alice@example.org", "bob@example.org"], []),
        ("half@example.org", ["alice@example.org"], []),
        ("list@example.org", ["alice@example.org"], ["far@example.net"]),
        ("away@example.org", [], ["far@example.net"]),
        ("anything@example.edu", ["bob@example.org"], []),
        ("@", [], []),
    ],
)
def test_who_is_taken(directory: Directory, text: str, accounts: list[str], remote: list[str]) -> None:
    if text == "@":
        # RFC 5321 §4.5.1: postmaster without a domain, in any case
        taken = accept_recipient(Address("PostMaster", ""), directory, empty, RecipientPolicy())
        assert [account.name for account in taken.accounts] == ["bob@example.org"]
        return
    assert names(directory, text) == (accounts, remote)


@pytest.mark.parametrize(
    ("text", "policy", "reason"),
    [
        ("nobody@example.org", ROUTED, NoSuchRecipient),
        ("carol@example.org", ROUTED, MailboxDisabled),
        ("gone@example.org", ROUTED, MailboxDisabled),
        ("ring1@example.org", ROUTED, NoSuchRecipient),
        ("everyone@example.org", ROUTED, LimitExceeded),
        ("far@example.net", RecipientPolicy(), RelayDenied),
        ("far@example.net", ROUTED, RelayDenied),
        ("far@example.net", RecipientPolicy(may_relay=True), RelayDenied),
        ("x@[192.0.2.1]", ROUTED, RelayDenied),
        ("list@example.org", RecipientPolicy(), Unavailable),
        ("x%y@example.edu", TRUSTED, RelayDenied),
        ("x!y@example.edu", TRUSTED, RelayDenied),
        ("x@y@example.edu", TRUSTED, RelayDenied),
    ],
)
def test_who_is_not(
    directory: Directory, text: str, policy: RecipientPolicy, reason: type[PostroomError]
) -> None:
    with pytest.raises(PostroomError) as caught:
        names(directory, text, policy)
    assert type(caught.value) is reason


def test_anyone_for_those_who_may(directory: Directory) -> None:
    assert names(directory, "far@example.net", TRUSTED) == ([], ["far@example.net"])
    assert names(directory, "x%y@example.net", TRUSTED) == ([], ["x%y@example.net"])


@pytest.mark.parametrize(
    ("octets", "quota", "size", "taken"),
    [(0, 100, 0, True), (0, 100, 100, True), (0, 100, 101, False), (100, 100, 0, False), (500, 0, 500, True)],
)
def test_a_full_mailbox_is_known_in_time(
    directory: Directory, octets: int, quota: int, size: int, taken: bool
) -> None:
    def usage(account: AccountId) -> Usage:
        return Usage(octets, 1, quota)

    address = Address("alice", "example.org")
    if taken:
        assert accept_recipient(address, directory, usage, ROUTED, size).accounts
    else:
        with pytest.raises(QuotaExceeded):
            accept_recipient(address, directory, usage, ROUTED, size)


def test_one_full_mailbox_of_several_is_no_reason(directory: Directory) -> None:
    """It would deprive the others; the copy that does not fit waits in the queue."""
    alice = directory.account("alice@example.org")
    assert alice is not None

    def usage(account: AccountId) -> Usage:
        return Usage(10, 1, 10 if account == alice.id else 0)

    assert len(accept_recipient(Address("both", "example.org"), directory, usage, ROUTED).accounts) == 2


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("anyone@example.edu", True),
        ("bob@example.org", False),
        ("half@example.org", False),
        ("postmaster@EXAMPLE.edu", True),
    ],
)
def test_a_copy_apart_is_for_whoever_stands_for_the_domain(
    directory: Directory, text: str, apart: bool
) -> None:
    local, _, domain = text.rpartition("@")
    policy = RecipientPolicy(has_route=True, host_of=directory.host_account)
    assert accept_recipient(Address(local, domain), directory, empty, policy).apart is apart
    assert not accept_recipient(Address(local, domain), directory, empty, ROUTED).apart


def test_hosts(directory: Directory) -> None:
    host = directory.host_account("EXAMPLE.edu")
    assert host is not None
    assert host.name == "bob@example.org"
    for nobody in ("example.org", "nowhere.example", "", "@", "x" * 10_000):
        assert directory.host_account(nobody) is None
