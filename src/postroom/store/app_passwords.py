"""App passwords: made for one program, good for some protocols, revocable without the others (threats T9, T10).

Invariants:
- They are made here, never chosen: 130 random bits. So a plain hash is enough to keep them by: it cannot be guessed back, which
  is what argon2id is for with what people choose; and comparing costs nothing, so it changes the time of no failure.
- One that has ended or is not for the protocol is as good as none.

It must not know: who logs in with it, and how; the database.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PROTOCOLS: Final = ("imap", "pop3", "submission")
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 letters and digits that are not taken for each other."""
_LENGTH: Final = 26
_GROUP: Final = 5
_NOT_SAID: Final = re.compile(r"[\s-]+")


@dataclass(slots=True, frozen=True)
class AppPassword:
    """One password for one program: ``password`` is its hash, times in seconds since 1970, ``expires`` None for never."""

    label: str
    protocols: tuple[str, ...]
    password: str
    created: int
    expires: int | None

    def serves(self, service: str, now: float) -> bool:
        """Whether it is good for a protocol at a time."""
        return service in self.protocols and (self.expires is None or self.expires > now)


def make_password() -> str:
    """26 letters in groups of five."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return "-".join(letters[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))


def hash_of(password: str) -> str:
    """What is kept; spaces and hyphens do not count, for they get lost in typing."""
    octets = _NOT_SAID.sub("", password).lower().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(octets, digest_size=32, person=b"app password").hexdigest()


def fits(entries: Iterable[AppPassword], password: str, service: str, now: float) -> bool:
    """Whether a password is one of these, for this protocol, now."""
    found = hash_of(password)
    # All of them, whichever it is: how many there are is no secret, which one it was may be.
    right = [hmac.compare_digest(each.password, found) and each.serves(service, now) for each in entries]
    return any(right)
