"""Names and passwords as values: preparation of strings, and the keys SCRAM derives from a password.

Invariants: everything here is a pure function of its arguments; nothing keeps a password. ``wire`` (mechanisms) and
``store`` (what is kept of a password) share it without knowing each other.
"""

from __future__ import annotations

import hashlib
import hmac
import stringprep
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

HashName = Literal["sha1", "sha256"]
"""The hashes SCRAM is served with, by their names in hashlib (RFC 5802, RFC 7677)."""

SCRAM_ITERATIONS: Final = 16_384
"""Iterations for new keys; RFC 7677 §4 asks for at least 4096."""
MIN_SCRAM_ITERATIONS: Final = 4_096
MAX_SCRAM_ITERATIONS: Final = 1_000_000
"""What a client of ours is ready to compute for a server it does not trust."""

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """Prepare a user name or password for comparison (RFC 4013 §2), as a query: unassigned code points are allowed.

    Raises ValueError for prohibited characters, bad bidirectional text, or when nothing is left.
    """
    if text.isascii():
        if not text or not text.isprintable():
            raise ValueError("a prohibited character, or nothing at all")
        return text
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared:
        raise ValueError("nothing is left after preparation")
    if any(prohibited(c) for c in prepared for prohibited in _PROHIBITED):
        raise ValueError("a prohibited character")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 §6, the rules for bidirectional text."""
    if not any(stringprep.in_table_d1(c) for c in text):
        return
    if any(stringprep.in_table_d2(c) for c in text):
        raise ValueError("text of both directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("right-to-left text must begin and end as such")


def prepared_password(password: str) -> bytes:
    """The octets of a password that are hashed: prepared where RFC 4013 can, else as they are.

    A password that cannot be prepared can still be hashed and compared; it only cannot serve SCRAM.
    """
    try:
        return saslprep(password).encode()
    except ValueError:
        return password.encode(errors="surrogatepass")


@dataclass(slots=True, frozen=True, repr=False)
class ScramKeys:
    """What a server keeps of a password for SCRAM (RFC 5802 §2.2): enough to verify, not enough to log in. Which hash they
    belong to follows from the length of ``stored_key``."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return f"ScramKeys(iterations={self.iterations})"


def salted_password(password: bytes, salt: bytes, iterations: int, hash_name: HashName = "sha256") -> bytes:
    """SaltedPassword := Hi(Normalize(password), salt, i) (RFC 5802 §3); costly, releases the interpreter lock."""
    return hashlib.pbkdf2_hmac(hash_name, password, salt, iterations)


def derive_scram_keys(
    password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS, hash_name: HashName = "sha256"
) -> ScramKeys:
    """The keys a server keeps for ``password`` (RFC 5802 §3); costly."""
    salted = salted_password(prepared_password(password), salt, iterations, hash_name)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    return ScramKeys(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.new(hash_name, client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", hash_name),
    )
