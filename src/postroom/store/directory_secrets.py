"""Secrets shared with users, for CRAM-MD5 and APOP: a server must be able to read them, so they are sealed at rest.

Invariants:
- A secret is sealed with ChaCha20-Poly1305 (RFC 8439) under a key in a file outside the database, bound to its account: moved to
  another account it does not open.
- The directory knows a digest of the key. With another key, or none, nothing opens for anybody: Unavailable, never a
  wrong login.
- What is sealed has one length, so neither the database nor the work tells how long a secret is.

It must not know: who logs in with it, and how.
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId
from postroom.store.directory_passwords import MAX_PASSWORD_OCTETS, PasswordRefused, check_new_password

KEY_OCTETS: Final = 32
_NONCE_OCTETS: Final = 12
_FORM: Final = b"\x01"
"""Of what is sealed, so that there can be another one."""
_PURPOSE: Final = b"postroom shared secret"


def check_new_secret(secret: str, name: str = "") -> None:
    """The policy for new secrets: that for passwords, and ASCII alone, since neither CRAM-MD5 nor APOP says which octets
    other characters are. Raises PasswordRefused."""
    check_new_password(secret, name)
    if not secret.isascii():
        raise PasswordRefused("A shared secret has ASCII characters only")


class KeyFile:
    """The key, 32 random octets in a file for its owner alone. It is read anew each time: one replaced is seen at once."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        """The key; None without a file. Raises Unavailable for a file that holds no key or cannot be read."""
        try:
            with self._path.open("rb") as stream:
                key = stream.read(KEY_OCTETS + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(private=f"key of the shared secrets: {error}") from error
        if len(key) != KEY_OCTETS:
            raise Unavailable(private=f"{self._path} does not hold the {KEY_OCTETS} octets of a key")
        return key

    def make(self) -> bytes:
        """A new key, durable on return; the one there is if another process was faster. Raises Unavailable."""
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with open(descriptor, "wb") as stream:  # noqa: PTH123  (a descriptor, not a path)
                    stream.write(secrets.token_bytes(KEY_OCTETS))
                    stream.flush()
                    os.fsync(descriptor)
                try:
                    self._path.hardlink_to(temporary)
                except FileExistsError:
                    pass
            finally:
                temporary.unlink()
            _sync(self._path.parent)
        except OSError as error:
            raise Unavailable(private=f"key of the shared secrets: {error}") from error
        key = self.read()
        assert key is not None
        return key

    def verified(self, check: bytes) -> bytes:
        """The key that ``check`` is of. Raises Unavailable for another one, or none."""
        key = self.read()
        if key is None:
            raise Unavailable(private=f"the key of the shared secrets is missing: {self._path}")
        if not hmac.compare_digest(check_of(key), check):
            raise Unavailable(private=f"{self._path} is not the key that the shared secrets are sealed with")
        return key


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_of(key: bytes) -> bytes:
    """What the directory keeps to recognise the key by; it tells nothing about it."""
    return hmac.digest(key, _PURPOSE + b" check", "sha256")


def seal(key: bytes, account: AccountId, secret: str) -> bytes:
    """The secret as it is stored."""
    octets = secret.encode("ascii")
    padded = bytes([len(octets)]) + octets.ljust(MAX_PASSWORD_OCTETS, b"\0")
    nonce = secrets.token_bytes(_NONCE_OCTETS)
    return _FORM + nonce + ChaCha20Poly1305(key).encrypt(nonce, padded, _bound_to(account))


def unseal(key: bytes, account: AccountId, sealed: bytes) -> bytes:
    """The secret's octets. Raises Unavailable for what was sealed otherwise, or for another account."""
    form, nonce, octets = sealed[:1], sealed[1 : 1 + _NONCE_OCTETS], sealed[1 + _NONCE_OCTETS :]
    try:
        if form != _FORM:
            raise InvalidTag
        padded = ChaCha20Poly1305(key).decrypt(nonce, octets, _bound_to(account))
    except (InvalidTag, ValueError) as error:
        raise Unavailable(private=f"the shared secret of account {account} does not open") from error
    return padded[1 : 1 + padded[0]]


def _bound_to(account: AccountId) -> bytes:
    return _PURPOSE + b"\0%d" % account


_DUMMY_KEY: Final = secrets.token_bytes(KEY_OCTETS)
_UNKNOWN: Final = secrets.token_bytes(32)
_DUMMY: Final = seal(_DUMMY_KEY, AccountId(0), "")


@dataclass(slots=True, frozen=True, repr=False)
class SharedSecret:
    """A login's secret, opened when it is asked for. ``check`` is None while nobody has one; ``sealed`` is None for those who
    have none, who cost the same work. What they get instead follows from nothing that is stored: whoever has stolen the
    directory must not be able to log in with it."""

    file: KeyFile
    check: bytes | None
    account: AccountId
    sealed: bytes | None

    def read(self) -> bytes:
        """The octets, or some that nobody knows. Reads a small file. Raises Unavailable when secrets cannot be opened."""
        if self.check is None:
            return _UNKNOWN
        key = self.file.verified(self.check)
        if self.sealed is None:
            unseal(_DUMMY_KEY, AccountId(0), _DUMMY)
            return _UNKNOWN
        return unseal(key, self.account, self.sealed)
