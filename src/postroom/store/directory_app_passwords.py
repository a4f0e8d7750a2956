"""Making and revoking app passwords in the directory."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import apsw

from postroom.model.errors import InvalidName, LimitExceeded
from postroom.store.app_passwords import PROTOCOLS, AppPassword, hash_of, make_password
from postroom.store.directory_entries import EntryExists, NoSuchEntry
from postroom.store.directory_names import canonical_address

MAX_LABEL: Final = 64
MOST: Final = 50
"""Of one account."""


@dataclass(slots=True, frozen=True)
class MadeAppPassword:
    """A new one, with the password in the only place where it is ever to be seen."""

    entry: AppPassword
    password: str


class AppPasswordChanges(ABC):
    """The part of Directory that changes app passwords. Every method blocks; Unavailable when the lock cannot be had in time."""

    @abstractmethod
    def _change(self) -> AbstractContextManager[apsw.Connection]:
        """A transaction on a connection of its own."""

    def add_app_password(
        self, name: str, label: str, protocols: Collection[str] = PROTOCOLS, seconds: int | None = None
    ) -> MadeAppPassword:
        """Make one for an account; it ends after ``seconds``, or never. Raises InvalidName for a label or protocol,
        EntryExists, NoSuchEntry, LimitExceeded."""
        wanted = tuple(each for each in PROTOCOLS if each in protocols)
        if not wanted or len(wanted) != len(set(protocols)):
            raise InvalidName(f"The protocols are {', '.join(PROTOCOLS)}")
        if not 1 <= len(label) <= MAX_LABEL or not label.isprintable():
            raise InvalidName(f"A label has 1 to {MAX_LABEL} characters")
        now = int(time.time())
        password = make_password()
        expires = None if seconds is None else now + seconds
        entry = AppPassword(label, wanted, hash_of(password), now, expires)
        with self._change() as db:
            account = _account_of(db, name)
            held = db.execute("SELECT 1 FROM app_password WHERE account = ?", (account,)).fetchall()
            if len(held) >= MOST:
                raise LimitExceeded(f"An account has at most {MOST} app passwords")
            try:
                db.execute(
                    "INSERT INTO app_password (account, label, protocols, password, created, expires)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (account, label, " ".join(wanted), entry.password, now, expires),
                )
            except apsw.ConstraintError as error:
                raise EntryExists(f"There is already an app password {label}") from error
        return MadeAppPassword(entry, password)

    def revoke_app_password(self, name: str, label: str) -> None:
        """It is good for nothing from the next login on. Raises NoSuchEntry."""
        with self._change() as db:
            account = _account_of(db, name)
            gone = db.execute(
                "DELETE FROM app_password WHERE account = ? AND label = ? RETURNING 1", (account, label)
            ).fetchall()
            if not gone:
                raise NoSuchEntry(f"No app password {label}")


def _account_of(db: apsw.Connection, name: str) -> int:
    name = canonical_address(name)
    rows = db.execute("SELECT id FROM account WHERE name = ?", (name,)).fetchall()
    if not rows:
        raise NoSuchEntry(f"No account {name}")
    found = rows[0][0]
    assert isinstance(found, int)
    return found
