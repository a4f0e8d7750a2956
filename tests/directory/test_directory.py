"""The directory: entries, resolution, ownership, placement, and that every reader sees every change."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.credentials import derive_scram_keys
from postroom.model.errors import (
    InvalidName,
    LimitExceeded,
    NoSuchRecipient,
    NotAllowed,
    PostroomError,
    Unavailable,
)
from postroom.model.ids import AccountId
from postroom.store.directory import (
    Alias,
    Directory,
    Domain,
    EntryExists,
    NewAccount,
    NoSuchEntry,
    PasswordRefused,
    PasswordScheme,
)
from postroom.store.directory_schema import MIGRATIONS
from tests.directory.conftest import CHEAP

PASSWORD = "correct horse battery"


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


def reached(directory: Directory, text: str) -> tuple[list[str], list[str]]:
    """Names of local accounts with +detail, and remote addresses."""
    found = directory.resolve(address(text))
    local = [t.account.name + (f" +{t.detail}" if t.detail else "") for t in found.local]
    return local, [str(each) for each in found.remote]


# --- entries


def test_an_account_from_making_to_removal(directory: Directory) -> None:
    made = directory.add_account("Alice@Example.ORG", PASSWORD, quota=1000)
    assert made == Account(made.id, "alice@example.org", made.shard, 1000, True)
    assert directory.account("ALICE@example.org") == made
    assert directory.account_by_id(made.id) == made
    assert list(directory.accounts()) == list(directory.accounts("example.org")) == [made]
    assert list(directory.accounts("example.net")) == []
    directory.set_quota("alice@example.org", 0)
    directory.set_enabled("alice@example.org", False)
    assert directory.account("alice@example.org") == Account(made.id, made.name, made.shard, 0, False)
    assert directory.remove_account("alice@example.org") == made.id
    assert directory.account("alice@example.org") is None
    assert directory.account_by_id(made.id) is None
    again = directory.add_account("alice@example.org", PASSWORD)
    assert again.id > made.id, "ids are never used again"


def test_what_is_not_there(directory: Directory) -> None:
    for attempt in (
        lambda: directory.remove_account("no@example.org"),
        lambda: directory.set_quota("no@example.org", 1),
        lambda: directory.set_enabled("no@example.org", True),
        lambda: directory.set_password("no@example.org", PASSWORD),
        lambda: directory.remove_alias("no@example.org"),
        lambda: directory.remove_domain("example.net"),
        lambda: directory.set_catch_all("example.net", None),
        lambda: directory.add_account("a@example.net", PASSWORD),
        lambda: directory.add_alias("a@example.net", ["b@example.org"]),
        lambda: directory.add_sender("no@example.org", "b@example.org"),
        lambda: directory.senders("no@example.org"),
    ):
        with pytest.raises(NoSuchEntry):
            attempt()


def test_names_are_taken_once(directory: Directory) -> None:
    directory.add_account("alice@example.org", PASSWORD)
    directory.add_alias("sales@example.org", ["alice@example.org"])
    with pytest.raises(EntryExists):
        directory.add_account("ALICE@example.org", PASSWORD)
    with pytest.raises(EntryExists):
        directory.add_account("sales@example.org", PASSWORD)
    with pytest.raises(EntryExists):
        directory.add_alias("alice@example.org", ["b@example.net"])
    with pytest.raises(EntryExists):
        directory.add_alias("sales@example.org", ["b@example.net"])
    with pytest.raises(EntryExists):
        directory.add_domain("EXAMPLE.org")


def test_domains(directory: Directory) -> None:
    directory.add_domain("bücher.example")
    assert directory.is_local_domain("BÜCHER.example")
    assert directory.is_local_domain("xn--bcher-kva.example"), "both spellings of an internationalised name"
    assert not directory.is_local_domain("bucher.example")
    assert not directory.is_local_domain("example.org.")
    assert not directory.is_local_domain("")
    assert directory.domains() == [Domain("bücher.example"), Domain("example.org")]
    assert directory.default_domain() == "example.org"
    directory.add_account("a@bücher.example", PASSWORD)
    with pytest.raises(NotAllowed):
        directory.remove_domain("bücher.example")
    directory.remove_account("a@bücher.example")
    directory.add_alias("b@bücher.example", ["c@example.net"])
    directory.remove_domain("xn--bcher-kva.example")
    assert directory.domains() == [Domain("example.org")]
    assert directory.aliases() == []


def test_passwords(directory: Directory) -> None:
    directory.add_account("alice@example.org", PASSWORD)
    before = directory.credentials("alice@example.org")
    assert before.verify(PASSWORD)
    assert not before.verify(PASSWORD + " ")
    assert not before.verify("")
    assert not before.outdated
    directory.set_password("alice@example.org", "another long password")
    after = directory.credentials("Alice@Example.org")
    assert after.verify("another long password")
    assert not after.verify(PASSWORD)
    assert before.scram.salt != after.scram.salt


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "elevenchars",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabc",
        "twelve\x00chars..",
        "x" * 300,
        "alice@example.org",
    ],
)
def test_the_policy_for_new_passwords(directory: Directory, password: str) -> None:
    with pytest.raises(PasswordRefused):
        directory.add_account("alice@example.org", password)
    assert directory.account("alice@example.org") is None


def test_outdated_parameters_are_noticed_and_renewed(directory: Directory, path: Path) -> None:
    made = directory.add_account("alice@example.org", PASSWORD)
    stronger = Directory(path, PasswordScheme(2, 16, 1, 5000))
    found = stronger.credentials("alice@example.org")
    assert found.verify(PASSWORD)
    assert found.outdated
    stronger.renew_password(made.id, found.password_hash, PASSWORD)
    renewed = stronger.credentials("alice@example.org")
    assert renewed.verify(PASSWORD)
    assert not renewed.outdated
    assert renewed.scram.iterations == 5000
    stronger.renew_password(made.id, found.password_hash, "what was verified is gone")
    assert stronger.credentials("alice@example.org").verify(PASSWORD)
    stronger.close()


def test_a_hash_from_elsewhere(directory: Directory) -> None:
    stored = PasswordScheme(2, 32, 1).hash("taken over, long enough")
    good, bad, costly = directory.import_accounts(
        [
            NewAccount("a@example.org", password_hash=stored),
            NewAccount("b@example.org", password_hash="$6$rounds=1$abc$def"),
            NewAccount("c@example.org", password_hash=stored.replace("m=32", "m=99999999")),
        ]
    )
    assert isinstance(good, Account)
    assert isinstance(bad, PasswordRefused)
    assert isinstance(costly, PasswordRefused)
    found = directory.credentials("a@example.org")
    assert found.verify("taken over, long enough")
    assert not found.verify("another")
    assert found.outdated, "has no SCRAM keys yet"
    directory.renew_password(good.id, found.password_hash, "taken over, long enough")
    assert directory.credentials("a@example.org").has_scram


def test_importing_many(directory: Directory) -> None:
    rows = [NewAccount(f"user{n}@example.org", PASSWORD, quota=n) for n in range(50)]
    rows[7] = NewAccount("no at sign", PASSWORD)
    rows[8] = NewAccount("user1@example.org", PASSWORD)
    rows[9] = NewAccount("x@example.net", PASSWORD)
    rows[10] = NewAccount("user10@example.org", "short")
    rows[11] = NewAccount("user11@example.org", PASSWORD, quota=-1)
    outcomes = directory.import_accounts(rows)
    kinds = {n: type(outcome) for n, outcome in enumerate(outcomes) if isinstance(outcome, PostroomError)}
    assert kinds == {7: InvalidName, 8: EntryExists, 9: NoSuchEntry, 10: PasswordRefused, 11: InvalidName}
    assert len(list(directory.accounts())) == 45


def test_placement_on_the_least_filled_shard(directory: Directory) -> None:
    directory.set_shards(3)
    made = [directory.add_account(f"u{n}@example.org", PASSWORD) for n in range(6)]
    assert [account.shard for account in made] == [1, 2, 3, 1, 2, 3]
    for account in made[:2]:
        directory.remove_account(account.name)
    outcomes = directory.import_accounts([NewAccount(f"v{n}@example.org", PASSWORD) for n in range(3)])
    assert [account.shard for account in outcomes if isinstance(account, Account)] == [1, 2, 1]
    directory.set_shards(3)
    with pytest.raises(NotAllowed):
        directory.set_shards(2)


# --- resolution


def test_resolution(directory: Directory) -> None:
    for name in ("alice", "bob", "carol", "o'brien"):
        directory.add_account(f"{name}@example.org", PASSWORD)
    directory.add_alias(
        "sales@example.org", ["alice@example.org", "bob@example.org", "ext@elsewhere.example"]
    )
    directory.add_alias("all@example.org", ["sales@example.org", "Alice@example.org", "carol@example.org"])
    directory.add_alias("bob+lists@example.org", ["carol@example.org"])
    assert reached(directory, "alice@example.org") == (["alice@example.org"], [])
    assert reached(directory, "ALICE@EXAMPLE.ORG") == (["alice@example.org"], [])
    assert reached(directory, "O'Brien@example.org") == (["o'brien@example.org"], [])
    assert reached(directory, "alice+tag@example.org") == (["alice@example.org +tag"], [])
    assert reached(directory, "alice+a+b@example.org") == (["alice@example.org +a+b"], [])
    assert reached(directory, "alice+@example.org") == (["alice@example.org"], [])
    assert reached(directory, "bob+lists@example.org") == (["carol@example.org"], [])
    assert reached(directory, "bob+other@example.org") == (["bob@example.org +other"], [])
    assert reached(directory, "sales@example.org") == (
        ["alice@example.org", "bob@example.org"],
        ["ext@elsewhere.example"],
    )
    assert reached(directory, "sales+tag@example.org")[0] == ["alice@example.org", "bob@example.org"]
    assert reached(directory, "all@example.org") == (
        ["alice@example.org", "bob@example.org", "carol@example.org"],
        ["ext@elsewhere.example"],
    )
    assert directory.aliases("example.org")[0] == Alias(
        "all@example.org", ("sales@example.org", "alice@example.org", "carol@example.org")
    )
    for nobody in ("dave@example.org", "+x@example.org", "alice@elsewhere.example", "@example.org", "alice@"):
        with pytest.raises(NoSuchRecipient):
            directory.resolve(address(nobody))


def test_catch_all(directory: Directory) -> None:
    directory.add_account("alice@example.org", PASSWORD)
    directory.add_account("rest@example.org", PASSWORD)
    directory.set_catch_all("example.org", "rest@example.org")
    assert reached(directory, "alice@example.org") == (["alice@example.org"], [])
    assert reached(directory, "anything@example.org") == (["rest@example.org"], [])
    assert reached(directory, "with space@example.org") == (["rest@example.org"], [])
    directory.set_catch_all("example.org", "box@elsewhere.example")
    assert reached(directory, "anything@example.org") == ([], ["box@elsewhere.example"])
    directory.set_catch_all("example.org", "gone@example.org")
    with pytest.raises(NoSuchRecipient):
        directory.resolve(address("anything@example.org"))
    directory.set_catch_all("example.org", None)
    with pytest.raises(NoSuchRecipient):
        directory.resolve(address("anything@example.org"))


def test_postmaster_without_a_domain(directory: Directory) -> None:
    with pytest.raises(NoSuchRecipient):
        directory.resolve(Address("postmaster", ""))
    directory.add_account("alice@example.org", PASSWORD)
    directory.add_alias("postmaster@example.org", ["alice@example.org"])
    assert directory.resolve(Address("Postmaster", "")).local[0].account.name == "alice@example.org"


def test_circles_and_floods_of_aliases_end(directory: Directory) -> None:
    """Threats S5."""
    directory.add_alias("a@example.org", ["b@example.org"])
    directory.add_alias("b@example.org", ["a@example.org", "a+x@example.org"])
    with pytest.raises(NoSuchRecipient):
        directory.resolve(address("a@example.org"))
    directory.add_account("c@example.org", PASSWORD)
    directory.add_alias("d@example.org", ["a@example.org", "c@example.org", "d@example.org"])
    assert reached(directory, "d@example.org") == (["c@example.org"], [])
    directory.add_alias(
        "many@example.org", [f"u{n}@elsewhere.example" for n in range(600)] + ["more@example.org"]
    )
    directory.add_alias("more@example.org", [f"v{n}@elsewhere.example" for n in range(600)])
    with pytest.raises(LimitExceeded):
        directory.resolve(address("many@example.org"))
    with pytest.raises(InvalidName):
        directory.add_alias("x@example.org", [f"u{n}@elsewhere.example" for n in range(1001)])
    with pytest.raises(InvalidName):
        directory.add_alias("x@example.org", [])


@pytest.mark.parametrize(
    "target", ["|/bin/sh@x.example", "/etc/passwd", ":include:/x", "a b@x.example", "a@", "@x.example"]
)
def test_alias_targets_are_addresses_only(directory: Directory, target: str) -> None:
    """Threats S8."""
    with pytest.raises(InvalidName):
        directory.add_alias("x@example.org", [target])


# --- ownership


def test_ownership(directory: Directory) -> None:
    """Threats S6."""
    alice = directory.add_account("alice@example.org", PASSWORD)
    bob = directory.add_account("bob@example.org", PASSWORD)
    directory.add_domain("example.net")
    directory.add_alias("sales@example.org", ["alice@example.org", "out@elsewhere.example"])
    directory.add_alias("team@example.org", ["sales@example.org"])

    def owned(account: Account) -> list[str]:
        return [
            text
            for text in (
                "alice@example.org", "ALICE@example.org", "alice+x@example.org", "bob@example.org", "sales@example.org",
                "team@example.org", "free@example.org", "x@example.net", "out@elsewhere.example", "a@partner.example",
                "alice@example.org.evil", "@example.org", "", "b c@example.org",
            )
            if directory.owns(account.id, address(text))
        ]  # fmt: skip

    own = ["alice@example.org", "ALICE@example.org", "alice+x@example.org"]
    assert owned(alice) == [*own, "sales@example.org"]
    assert owned(bob) == ["bob@example.org"]
    directory.set_catch_all("example.org", "alice@example.org")
    assert owned(alice) == [*own, "sales@example.org", "free@example.org"]
    directory.set_catch_all("example.org", None)
    directory.add_sender("alice@example.org", "@example.net")
    directory.add_sender("alice@example.org", "A@partner.example")
    directory.add_sender("alice@example.org", "a@partner.example")
    assert directory.senders("alice@example.org") == ["@example.net", "a@partner.example"]
    assert owned(alice) == [*own, "sales@example.org", "x@example.net", "a@partner.example"]
    directory.remove_sender("alice@example.org", "@example.net")
    with pytest.raises(NoSuchEntry):
        directory.remove_sender("alice@example.org", "@example.net")
    assert owned(alice) == [*own, "sales@example.org", "a@partner.example"]
    directory.set_enabled("alice@example.org", False)
    assert owned(alice) == []
    assert not directory.owns(AccountId(999), address("alice@example.org"))


# --- strange names


STRANGE = ["'", "%s", "%{env:PATH}", "*)(uid=*", "a\0b", "x" * 65_536, "\ud800", "a\r\nb", "", "@", "@@", "a@b@example.org",
           "' OR 1=1 --@example.org", "\u202ealice@example.org", "alice\u200b@example.org", "ａlice@example.org"]  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_are_nobody(directory: Directory, name: str) -> None:
    """Threats T16: no error, no echo of a database, no account."""
    directory.add_account("alice@example.org", PASSWORD)
    credentials = directory.credentials(name)
    assert credentials.account is None
    assert not credentials.verify(PASSWORD)
    assert len(credentials.login) <= 254
    assert directory.account(name) is None
    assert not directory.is_local_domain(name)
    with pytest.raises(InvalidName):
        directory.add_account(name, PASSWORD)
    with pytest.raises(NoSuchRecipient):
        directory.resolve(Address(name, "example.org"))
    assert [account.name for account in directory.accounts()] == ["alice@example.org"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(name=st.text(max_size=40))
def test_any_name_is_looked_up_without_error(directory: Directory, name: str) -> None:
    assert directory.credentials(name + "@example.org").account is None
    assert not directory.owns(AccountId(1), Address(name, name))
    directory.is_local_domain(name)


def test_unknown_logins_have_stable_fake_keys(directory: Directory, path: Path) -> None:
    """Threats T10: the same after a restart, in any spelling, and unlike each other."""
    first = directory.credentials("nobody@example.org")
    other = Directory(path, CHEAP)
    assert other.credentials("NOBODY@example.org").scram == first.scram
    other.close()
    assert directory.credentials("nobody2@example.org").scram.salt != first.scram.salt
    directory.add_account("alice@example.org", PASSWORD)
    real = directory.credentials("alice@example.org").scram
    assert (len(real.salt), real.iterations) == (len(first.scram.salt), first.scram.iterations)


def test_fake_keys_of_each_hash_look_like_real_ones(directory: Directory) -> None:
    directory.add_account("alice@example.org", PASSWORD)
    real, fake = directory.credentials("alice@example.org"), directory.credentials("nobody@example.org")
    assert real.has_scram_sha1
    assert not fake.has_scram_sha1
    for found in (real, fake):
        assert len(found.scram_sha1.stored_key) == len(found.scram_sha1.server_key) == 20
        assert len(found.scram_sha1.salt) == len(found.scram.salt)
        assert found.scram_sha1.salt != found.scram.salt
        assert found.scram_sha1.iterations == found.scram.iterations
    assert fake.scram_sha1 == directory.credentials("Nobody@Example.org").scram_sha1


def test_keys_of_sha1_come_and_go_with_the_setting(directory: Directory, path: Path) -> None:
    made = directory.add_account("alice@example.org", PASSWORD)
    without = Directory(path, replace(CHEAP, scram_sha1=False))
    found = without.credentials("alice@example.org")
    assert found.outdated
    without.renew_password(made.id, found.password_hash, PASSWORD)
    changed = directory.credentials("alice@example.org")
    assert not changed.has_scram_sha1
    assert not without.credentials("alice@example.org").outdated
    assert changed.outdated
    directory.renew_password(made.id, changed.password_hash, PASSWORD)
    assert directory.credentials("alice@example.org").has_scram_sha1
    without.close()


def test_keys_of_sha1_follow_the_password(directory: Directory) -> None:
    directory.add_account("alice@example.org", PASSWORD)
    directory.set_password("alice@example.org", "another long password")
    found = directory.credentials("alice@example.org").scram_sha1
    assert found == derive_scram_keys("another long password", found.salt, found.iterations, "sha1")


def test_unknown_logins_cost_the_same_hash(directory: Directory) -> None:
    directory.add_account("alice@example.org", PASSWORD)
    parameters = [
        directory.credentials(name).password_hash.rsplit("$", 2)[0] for name in ("alice@example.org", "x")
    ]
    assert parameters[0] == parameters[1]


# --- changes and files


def test_every_reader_sees_every_change(directory: Directory, path: Path) -> None:
    reader = Directory(path, CHEAP)
    assert reader.account("alice@example.org") is None
    before = reader.version
    assert reader.version == before, "nothing has changed"
    made = directory.add_account("alice@example.org", PASSWORD)
    assert reader.version > before
    assert reader.account("alice@example.org") == directory.account("alice@example.org") == made
    directory.set_enabled("alice@example.org", False)
    found = reader.account("alice@example.org")
    assert found is not None
    assert not found.enabled
    reader.close()


def test_a_change_that_fails_changes_nothing(directory: Directory) -> None:
    before = directory.version
    with pytest.raises(EntryExists):
        directory.add_domain("example.org")
    with pytest.raises(NoSuchEntry):
        directory.set_quota("no@example.org", 1)
    assert directory.domains() == [Domain("example.org")]
    assert directory.version >= before


def test_the_file_is_for_its_owner_only(path: Path, directory: Directory) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_of_a_newer_version_is_left_alone(path: Path, directory: Directory) -> None:
    directory.close()
    db = apsw.Connection(str(path))
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(Unavailable):
        Directory(path, CHEAP)


def test_what_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(Unavailable):
        Directory(path, CHEAP)
    with pytest.raises(Unavailable):
        Directory(tmp_path / "missing" / "directory.sqlite", CHEAP)


def test_credentials_do_not_show_secrets(directory: Directory) -> None:
    directory.add_account("alice@example.org", PASSWORD)
    assert "$argon2" not in repr(directory.credentials("alice@example.org"))
    assert PASSWORD not in repr(NewAccount("a@example.org", PASSWORD))
