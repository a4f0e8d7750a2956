"""Passwords: how they are hashed, and which new ones are acceptable.

Invariants: what is hashed is the prepared password (RFC 4013), so all mechanisms accept the same spellings; a dummy hash
of the current parameters exists for logins that name nobody. Every function that hashes is slow on purpose, releases the
interpreter lock and belongs into a bounded pool.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from postroom.model.credentials import (
    SCRAM_ITERATIONS,
    HashName,
    ScramKeys,
    derive_scram_keys,
    prepared_password,
)
from postroom.model.errors import NotAllowed

MIN_PASSWORD_LENGTH: Final = 12
MAX_PASSWORD_OCTETS: Final = 255
"""RFC 4616 §2 lets a mechanism stop there."""
_SALT_OCTETS: Final = 16


class PasswordRefused(NotAllowed):
    """The new password is not acceptable; the public text says why."""

    default_public = "The password is not acceptable"


def check_new_password(password: str, name: str = "") -> None:
    """The policy for new passwords: length, no control characters, not the account's own name. Raises PasswordRefused."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise PasswordRefused(f"The password has fewer than {MIN_PASSWORD_LENGTH} characters")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_OCTETS:
        raise PasswordRefused(f"The password has more than {MAX_PASSWORD_OCTETS} octets")
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in password):
        raise PasswordRefused("The password holds a control character")
    if len(set(password)) < 4:
        raise PasswordRefused("The password repeats the same few characters")
    if name and password.lower() in {name.lower(), name.partition("@")[0].lower()}:
        raise PasswordRefused("The password is the account's name")


@dataclass(slots=True, frozen=True, repr=False)
class StoredPassword:
    """What is kept of a password: an argon2 hash in PHC form, and keys where there are any. No repr: it stays out of logs."""

    hash: str
    scram: ScramKeys | None = None
    scram_sha1: ScramKeys | None = None


@dataclass(frozen=True)
class PasswordScheme:
    """Parameters of argon2id and SCRAM for new hashes: ``memory`` in KiB. ``scram_sha1`` keeps keys of SCRAM-SHA-1, too."""

    time_cost: int = 2
    memory: int = 19_456
    parallelism: int = 1
    scram_iterations: int = SCRAM_ITERATIONS
    scram_sha1: bool = True
    _hasher: PasswordHasher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        hasher = PasswordHasher(self.time_cost, self.memory, self.parallelism, type=Type.ID)
        object.__setattr__(self, "_hasher", hasher)

    @cached_property
    def dummy(self) -> str:
        """The hash of a password nobody knows."""
        return self._hasher.hash(secrets.token_bytes(16))

    def hash(self, password: str) -> str:
        """The argon2id hash in PHC form."""
        return self._hasher.hash(prepared_password(password))

    def scram(self, password: str, hash_name: HashName = "sha256") -> ScramKeys:
        """Fresh SCRAM keys; each hash has a salt of its own."""
        return derive_scram_keys(
            password, secrets.token_bytes(_SALT_OCTETS), self.scram_iterations, hash_name
        )

    def all_of(self, password: str) -> StoredPassword:
        """Everything that is kept of a new password."""
        return StoredPassword(
            self.hash(password),
            self.scram(password),
            self.scram(password, "sha1") if self.scram_sha1 else None,
        )

    def verify(self, stored: str, password: str) -> bool:
        """Whether the password fits the stored hash. A hash that cannot be read costs the dummy's work and fits nothing."""
        try:
            return self._hasher.verify(stored, prepared_password(password))
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            try:
                self._hasher.verify(self.dummy, prepared_password(password))
            except VerificationError:
                pass
            return False

    def outdated(self, stored: str, keys: ScramKeys) -> bool:
        """Whether either was made with other parameters."""
        return self._hasher.check_needs_rehash(stored) or keys.iterations != self.scram_iterations

    def check_hash(self, stored: str) -> str:
        """A hash taken over from elsewhere: argon2 in PHC form, not absurdly costly. Raises PasswordRefused."""
        try:
            parameters = extract_parameters(stored)
        except InvalidHashError as error:
            raise PasswordRefused("The hash is not argon2 in PHC form") from error
        if parameters.memory_cost > 1 << 20 or parameters.time_cost > 16 or parameters.parallelism > 16:
            raise PasswordRefused("The hash is too costly to verify")
        return stored
