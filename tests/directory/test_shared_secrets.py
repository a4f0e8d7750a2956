"""Secrets of CRAM-MD5 and APOP: sealed at rest, bound to their account and their key, fake ones for the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId
from postroom.store import directory_secrets
from postroom.store.directory import Directory, NoSuchEntry, PasswordRefused
from postroom.store.directory_secrets import KeyFile, check_of, seal, unseal
from tests.directory.conftest import CHEAP

ALICE, BOB = "alice@example.org", "bob@example.org"
PASSWORD, SECRET = "correct horse battery", "a secret of its own"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.fixture
def secretive(tmp_path: Path, key: Path) -> Iterator[Directory]:
    made = Directory(tmp_path / "secretive.sqlite", CHEAP, secrets_key=key)
    made.add_domain("example.org")
    made.add_account(ALICE, PASSWORD)
    made.add_account(BOB, PASSWORD)
    yield made
    made.close()


def secret_of(directory: Directory, login: str) -> bytes:
    return directory.credentials(login).shared_secret()


def test_set_read_replace_remove(secretive: Directory, key: Path) -> None:
    assert not key.exists()
    assert not secretive.credentials(ALICE).has_shared_secret
    assert secretive.shared_secret_since(ALICE) is None
    secretive.set_shared_secret("Alice@Example.org", SECRET)
    assert secret_of(secretive, ALICE) == SECRET.encode()
    assert secretive.shared_secret_since(ALICE) is not None
    secretive.set_shared_secret(ALICE, "another one, quite long")
    assert secret_of(secretive, ALICE) == b"another one, quite long"
    secretive.remove_shared_secret(ALICE)
    assert not secretive.credentials(ALICE).has_shared_secret
    with pytest.raises(NoSuchEntry):
        secretive.remove_shared_secret(ALICE)
    with pytest.raises(NoSuchEntry):
        secretive.set_shared_secret("nobody@example.org", SECRET)
    with pytest.raises(NoSuchEntry):
        secretive.shared_secret_since("nobody@example.org")


def test_the_key_file_is_private_and_made_once(secretive: Directory, key: Path) -> None:
    secretive.set_shared_secret(ALICE, SECRET)
    assert key.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in key.parent.iterdir() if each.name.startswith(".")] == []
    before = key.read_bytes()
    secretive.set_shared_secret(BOB, SECRET)
    assert key.read_bytes() == before
    assert KeyFile(key).make() == before, "another process was faster"


def test_nothing_readable_is_kept(secretive: Directory, tmp_path: Path) -> None:
    """Threats W6: neither in the database nor in its log."""
    secretive.set_shared_secret(ALICE, SECRET)
    for each in tmp_path.iterdir():
        assert SECRET.encode() not in each.read_bytes()
    assert SECRET not in repr(secretive.credentials(ALICE))
    assert SECRET not in repr(secretive.credentials(ALICE).secret)


@pytest.mark.parametrize("secret", ["short", "pässwörter sind lang", "a\x00b" * 9, "x" * 256, ALICE])
def test_unacceptable_secrets(secretive: Directory, secret: str) -> None:
    with pytest.raises(PasswordRefused):
        secretive.set_shared_secret(ALICE, secret)
    assert secretive.shared_secret_since(ALICE) is None


def test_the_login_password_and_the_secret_stay_apart(secretive: Directory, key: Path) -> None:
    with pytest.raises(PasswordRefused):
        secretive.set_shared_secret(ALICE, PASSWORD)
    secretive.set_shared_secret(ALICE, SECRET)
    with pytest.raises(PasswordRefused):
        secretive.set_password(ALICE, SECRET)
    assert secretive.credentials(ALICE).verify(PASSWORD)
    key.unlink()
    secretive.set_password(ALICE, "a new login password")
    assert secretive.credentials(ALICE).verify("a new login password")


def test_who_has_none_gets_what_nobody_knows(secretive: Directory) -> None:
    """Not even whoever has stolen the directory: nothing stored leads to it."""
    before = secret_of(secretive, BOB)
    secretive.set_shared_secret(ALICE, SECRET)
    for login in (BOB, "nobody@example.org", "nobody else"):
        assert secret_of(secretive, login) == before != SECRET.encode()
        assert not secretive.credentials(login).has_shared_secret
    assert len(before) == 32
    found = secretive.credentials(BOB)
    assert before not in (found.scram.salt, found.scram.stored_key, found.scram.server_key)


def test_everybody_costs_the_same_work(secretive: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threats T10: one look at the key, one sealed secret opened, of the same size."""
    secretive.set_shared_secret(ALICE, "twelve chars")
    opened: list[int] = []

    def counting(key: bytes, account: AccountId, sealed: bytes) -> bytes:
        opened.append(len(sealed))
        return unseal(key, account, sealed)

    monkeypatch.setattr(directory_secrets, "unseal", counting)
    for login in (ALICE, BOB, "nobody@example.org"):
        secret_of(secretive, login)
    assert len(opened) == 3
    assert len(set(opened)) == 1


def test_what_is_kept_of_strangers_follows_the_directory(secretive: Directory) -> None:
    stranger = "nobody@example.org"
    assert secretive.credentials(stranger) is secretive.credentials("NOBODY@example.org")
    assert secretive.credentials(stranger).secret.check is None
    secretive.set_shared_secret(ALICE, SECRET)
    assert secretive.credentials(stranger).secret.check is not None
    secretive.add_account(stranger, PASSWORD)
    assert secretive.credentials(stranger).account is not None


@pytest.mark.parametrize("content", [None, b"k" * 32, b"short", b"x" * 33])
def test_without_the_right_key_nobody_can_tell(
    secretive: Directory, key: Path, content: bytes | None
) -> None:
    """Not even whether there is such a user."""
    secretive.set_shared_secret(ALICE, SECRET)
    right = key.read_bytes()
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    for login in (ALICE, BOB, "nobody@example.org"):
        with pytest.raises(Unavailable) as caught:
            secret_of(secretive, login)
        assert "key" not in caught.value.public
        assert str(key) in caught.value.private
    with pytest.raises(Unavailable):
        secretive.set_shared_secret(BOB, SECRET)
    key.write_bytes(right)
    assert secret_of(secretive, ALICE) == SECRET.encode()


def test_a_lost_key_is_made_anew_once_no_secret_needs_it(secretive: Directory, key: Path) -> None:
    secretive.set_shared_secret(ALICE, SECRET)
    key.unlink()
    secretive.remove_shared_secret(ALICE)
    secretive.set_shared_secret(BOB, SECRET)
    assert secret_of(secretive, BOB) == SECRET.encode()


def test_a_secret_belongs_to_its_account(secretive: Directory, tmp_path: Path) -> None:
    secretive.set_shared_secret(ALICE, SECRET)
    db = apsw.Connection(str(tmp_path / "secretive.sqlite"))
    db.execute("UPDATE shared_secret SET account = (SELECT id FROM account WHERE name = 'bob@example.org')")
    db.close()
    with pytest.raises(Unavailable, match="does not open"):
        secret_of(secretive, BOB)


def test_sealing() -> None:
    key, account = os.urandom(32), AccountId(7)
    sealed = [seal(key, account, secret) for secret in ("a", SECRET, SECRET, "x" * 255)]
    assert [unseal(key, account, each) for each in sealed] == [
        b"a",
        SECRET.encode(),
        SECRET.encode(),
        b"x" * 255,
    ]
    assert len(set(sealed)) == 4
    assert len({len(each) for each in sealed}) == 1, "the length is not told"
    damaged = sealed[0][:-1] + bytes([sealed[0][-1] ^ 1])
    for octets in (b"", b"\x01", damaged, b"\x02" + sealed[0][1:], sealed[0][:20]):
        with pytest.raises(Unavailable):
            unseal(key, account, octets)
    assert check_of(key) != check_of(os.urandom(32))
