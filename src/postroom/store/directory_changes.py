"""Changing the directory: every write is one transaction on a connection of its own.

Invariants: safe from any thread and any process; SQLite's lock orders the writers, and since no change is made through
a reader's connection, ``PRAGMA data_version`` shows every change to every reader. Ids of accounts are never used again.
Passwords are hashed before the transaction begins.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from postroom.model.account import Account
from postroom.model.errors import InvalidName, NotAllowed, PostroomError, Unavailable
from postroom.model.ids import AccountId, ShardId
from postroom.store.directory_app_passwords import AppPasswordChanges
from postroom.store.directory_bans import BanChanges
from postroom.store.directory_entries import Alias, Domain, EntryExists, NewAccount, NoSuchEntry
from postroom.store.directory_names import canonical_address, canonical_domain
from postroom.store.directory_passwords import (
    PasswordRefused,
    PasswordScheme,
    StoredPassword,
    check_new_password,
)
from postroom.store.directory_schema import connect
from postroom.store.directory_secrets import KeyFile, check_new_secret, check_of, seal, unseal

MAX_ALIAS_TARGETS: Final = 1_000


class DirectoryChanges(AppPasswordChanges, BanChanges):
    """The half of Directory that writes. Every method blocks (Unavailable when the lock cannot be had in time)."""

    def __init__(
        self, path: Path, scheme: PasswordScheme | None = None, secrets_key: Path | None = None
    ) -> None:
        self._path = path
        self.scheme = scheme or PasswordScheme()
        self._key_file = KeyFile(secrets_key or path.with_name("shared-secrets-key"))

    # --- domains

    def add_domain(self, name: str) -> Domain:
        """Raises InvalidName, EntryExists."""
        name = canonical_domain(name)
        with self._change() as db:
            _insert(db, name, "INSERT INTO domain (name) VALUES (?)", (name,))
        return Domain(name)

    def remove_domain(self, name: str) -> None:
        """Remove a domain with its aliases. Raises NoSuchEntry, NotAllowed while it has accounts."""
        with self._change() as db:
            domain = _domain_id(db, canonical_domain(name))
            if _one(db, "SELECT 1 FROM account WHERE domain = ?", domain):
                raise NotAllowed("The domain still has accounts")
            db.execute("DELETE FROM alias WHERE domain = ?", (domain,))
            db.execute("DELETE FROM domain WHERE id = ?", (domain,))

    def set_catch_all(self, name: str, target: str | None) -> None:
        """Who gets what nobody else in the domain does. Raises NoSuchEntry, InvalidName."""
        target = None if target is None else _canonical_target(target)
        with self._change() as db:
            domain = _domain_id(db, canonical_domain(name))
            db.execute("UPDATE domain SET catch_all = ? WHERE id = ?", (target, domain))

    # --- accounts

    def add_account(self, name: str, password: str, *, quota: int = 0, enabled: bool = True) -> Account:
        """Make an account and place it on the least filled shard. Raises InvalidName, PasswordRefused, EntryExists,
        NoSuchEntry for an unknown domain. Its rows in the mail store are the caller's affair."""
        result = self.import_accounts([NewAccount(name, password, quota, enabled)])[0]
        if isinstance(result, PostroomError):
            raise result
        return result

    def import_accounts(self, rows: Sequence[NewAccount]) -> list[Account | PostroomError]:
        """Add many: an outcome for each row, in order; the good ones are added in one transaction. Hashing uses all
        cores."""
        with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
            prepared = list(pool.map(self._prepare, rows))
        outcomes: list[Account | PostroomError] = []
        with self._change() as db:
            filled = {
                int(shard): int(count)
                for shard, count in db.execute(
                    "SELECT shard.id, count(account.id) FROM shard"
                    " LEFT JOIN account ON account.shard = shard.id GROUP BY shard.id"
                )
            }
            for row, ready in zip(rows, prepared, strict=True):
                if isinstance(ready, PostroomError):
                    outcomes.append(ready)
                    continue
                shard = min(filled, key=lambda shard: (filled[shard], shard))
                try:
                    outcomes.append(_add_account(db, row, *ready, ShardId(shard)))
                    filled[shard] += 1
                except (EntryExists, NoSuchEntry) as error:
                    outcomes.append(error)
        return outcomes

    def remove_account(self, name: str) -> AccountId:
        """Remove the entry (aliases that name it stay and lead nowhere); returns the id, for the mail store.
        Raises NoSuchEntry."""
        with self._change() as db:
            account = _account_id(db, name)
            db.execute("DELETE FROM account WHERE id = ?", (account,))
        return account

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Allow or refuse its logins. Raises NoSuchEntry."""
        with self._change() as db:
            db.execute("UPDATE account SET enabled = ? WHERE id = ?", (int(enabled), _account_id(db, name)))

    def set_quota(self, name: str, quota: int) -> AccountId:
        """Octets, 0 for none; returns the id, for the mail store. Raises NoSuchEntry, InvalidName for a negative one."""
        if not 0 <= quota < 1 << 62:
            raise InvalidName("A quota is a number of octets, 0 for none")
        with self._change() as db:
            account = _account_id(db, name)
            db.execute("UPDATE account SET quota = ? WHERE id = ?", (quota, account))
        return account

    def set_password(self, name: str, password: str) -> None:
        """Raises NoSuchEntry, PasswordRefused."""
        check_new_password(password, name)
        stored = self.scheme.all_of(password)
        with self._change() as db:
            account = _account_id(db, name)
            if self._is_shared_secret(db, account, password):
                raise PasswordRefused("The password is the account's shared secret")
            _store_password(db, account, stored)

    def renew_password(self, account: AccountId, verified: str, password: str) -> None:
        """Store a password just verified against the hash ``verified`` anew, under the current parameters; does nothing
        when it was changed meanwhile."""
        stored = self.scheme.all_of(password)
        with self._change() as db:
            if _one(db, "SELECT 1 FROM account WHERE id = ? AND password = ?", account, verified):
                _store_password(db, account, stored)

    # --- shared secrets

    def set_shared_secret(self, name: str, secret: str) -> None:
        """Give an account a secret for CRAM-MD5 and APOP, in place of the one it had. Raises NoSuchEntry, PasswordRefused (the
        login password is none), Unavailable when the key is not the one the other secrets are sealed with."""
        check_new_secret(secret, name)
        while True:
            with self._change() as db:
                account = _account_id(db, name)
                password = _one(db, "SELECT password FROM account WHERE id = ?", account)
            assert password is not None
            if self.scheme.verify(password[0], secret):
                raise PasswordRefused("The shared secret must not be the login password")
            with self._change() as db:
                if _one(db, "SELECT 1 FROM account WHERE id = ? AND password = ?", account, password[0]):
                    sealed = seal(self._sealing_key(db), account, secret)
                    db.execute(
                        "INSERT OR REPLACE INTO shared_secret VALUES (?, ?, ?)",
                        (account, sealed, int(time.time())),
                    )
                    return

    def remove_shared_secret(self, name: str) -> None:
        """Raises NoSuchEntry."""
        with self._change() as db:
            account = _account_id(db, name)
            db.execute("DELETE FROM shared_secret WHERE account = ?", (account,))
            if not db.changes():
                raise NoSuchEntry(f"{name} has no shared secret")

    def _sealing_key(self, db: apsw.Connection) -> bytes:
        """The key of the secrets there are; made if there are none. Raises Unavailable."""
        known = _one(db, "SELECT value FROM meta WHERE key = 'shared secrets'")
        if known is not None and _one(db, "SELECT 1 FROM shared_secret"):
            return self._key_file.verified(known[0])
        key = self._key_file.read() or self._key_file.make()
        db.execute("INSERT OR REPLACE INTO meta VALUES ('shared secrets', ?)", (check_of(key),))
        return key

    def _is_shared_secret(self, db: apsw.Connection, account: AccountId, password: str) -> bool:
        row = _one(
            db,
            "SELECT value, sealed FROM shared_secret, meta WHERE account = ? AND key = 'shared secrets'",
            account,
        )
        if row is None:
            return False
        try:
            secret = unseal(self._key_file.verified(row[0]), account, row[1])
        except Unavailable:
            return False  # what does not open lets nobody in, and must not keep a password from being changed
        return hmac.compare_digest(secret, password.encode("utf-8", "surrogatepass"))

    # --- aliases and senders

    def add_alias(self, address: str, targets: Sequence[str]) -> Alias:
        """Raises InvalidName, EntryExists, NoSuchEntry for an unknown domain."""
        address = canonical_address(address)
        kept = tuple(dict.fromkeys(_canonical_target(target) for target in targets))
        if not 1 <= len(kept) <= MAX_ALIAS_TARGETS:
            raise InvalidName(f"An alias has 1 to {MAX_ALIAS_TARGETS} targets")
        with self._change() as db:
            domain = _domain_id(db, address.rpartition("@")[2])
            if _one(db, "SELECT 1 FROM account WHERE name = ?", address):
                raise EntryExists(f"There is an account {address}")
            _insert(db, address, "INSERT INTO alias (domain, address) VALUES (?, ?)", (domain, address))
            alias = db.last_insert_rowid()
            db.executemany(
                "INSERT INTO alias_target VALUES (?, ?, ?)", [(alias, n, t) for n, t in enumerate(kept)]
            )
        return Alias(address, kept)

    def remove_alias(self, address: str) -> None:
        """Raises NoSuchEntry."""
        address = canonical_address(address)
        with self._change() as db:
            db.execute("DELETE FROM alias WHERE address = ?", (address,))
            if not db.changes():
                raise NoSuchEntry(f"No alias {address}")

    def add_sender(self, name: str, address: str) -> None:
        """Let an account send as an address, or as ``@domain``. Raises NoSuchEntry, InvalidName."""
        address = _canonical_sender(address)
        with self._change() as db:
            db.execute("INSERT OR IGNORE INTO sender VALUES (?, ?)", (_account_id(db, name), address))

    def remove_sender(self, name: str, address: str) -> None:
        """Raises NoSuchEntry."""
        address = _canonical_sender(address)
        with self._change() as db:
            account = _account_id(db, name)
            db.execute("DELETE FROM sender WHERE account = ? AND address = ?", (account, address))
            if not db.changes():
                raise NoSuchEntry(f"{name} does not own {address}")

    def set_shards(self, count: int) -> None:
        """Have shards 1 to ``count``; they can only become more. Raises NotAllowed."""
        with self._change() as db:
            present = _one(db, "SELECT count(*) FROM shard")
            assert present is not None
            if count < present[0]:
                raise NotAllowed("Shards cannot be taken away")
            db.executemany("INSERT OR IGNORE INTO shard VALUES (?)", [(n,) for n in range(1, count + 1)])

    # --- inner

    @contextmanager
    def _change(self) -> Iterator[apsw.Connection]:
        try:
            db = connect(self._path)
        except (apsw.Error, OSError) as error:
            raise Unavailable(private=f"directory: {error}") from error
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except apsw.Error as error:
            raise Unavailable(private=f"directory: {error}") from error
        finally:
            db.close()

    def _prepare(self, row: NewAccount) -> tuple[str, StoredPassword] | PostroomError:
        try:
            name = canonical_address(row.name)
            if not 0 <= row.quota < 1 << 62:
                raise InvalidName("A quota is a number of octets, 0 for none")
            if row.password_hash:
                return name, StoredPassword(self.scheme.check_hash(row.password_hash))
            check_new_password(row.password, name)
            return name, self.scheme.all_of(row.password)
        except PostroomError as error:
            return error


def _add_account(
    db: apsw.Connection, row: NewAccount, name: str, stored: StoredPassword, shard: ShardId
) -> Account:
    domain = _domain_id(db, name.rpartition("@")[2])
    if _one(db, "SELECT 1 FROM alias WHERE address = ?", name):
        raise EntryExists(f"There is an alias {name}")
    _insert(
        db,
        name,
        "INSERT INTO account (domain, name, shard, quota, enabled, password) VALUES (?, ?, ?, ?, ?, '')",
        (domain, name, shard, row.quota, int(row.enabled)),
    )
    account = AccountId(db.last_insert_rowid())
    _store_password(db, account, stored)
    return Account(account, name, shard, row.quota, row.enabled)


def _store_password(db: apsw.Connection, account: AccountId, stored: StoredPassword) -> None:
    keys = stored.scram
    scram = (None,) * 4 if keys is None else (keys.salt, keys.iterations, keys.stored_key, keys.server_key)
    db.execute(
        "UPDATE account SET password = ?, scram_salt = ?, scram_iterations = ?, scram_stored = ?,"
        " scram_server = ? WHERE id = ?",
        (stored.hash, *scram, account),
    )
    older = stored.scram_sha1
    if older is None:
        db.execute("DELETE FROM scram_sha1 WHERE account = ?", (account,))
        return
    db.execute(
        "INSERT OR REPLACE INTO scram_sha1 VALUES (?, ?, ?, ?, ?)",
        (account, older.salt, older.iterations, older.stored_key, older.server_key),
    )


def _one(db: apsw.Connection, sql: str, *values: object) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = db.execute(sql, values).fetchone()
    return row


def _insert(db: apsw.Connection, name: str, sql: str, values: tuple[str | int, ...]) -> None:
    try:
        db.execute(sql, values)
    except apsw.ConstraintError as error:
        raise EntryExists(f"There is already an entry {name}") from error


def _domain_id(db: apsw.Connection, name: str) -> int:
    row = _one(db, "SELECT id FROM domain WHERE name = ?", name)
    if row is None:
        raise NoSuchEntry(f"No domain {name}")
    return int(row[0])


def _account_id(db: apsw.Connection, name: str) -> AccountId:
    name = canonical_address(name)
    row = _one(db, "SELECT id FROM account WHERE name = ?", name)
    if row is None:
        raise NoSuchEntry(f"No account {name}")
    return AccountId(row[0])


def _canonical_target(text: str) -> str:
    """Local and remote targets alike must be plain addresses: no pipes, files or includes (threats S8)."""
    return canonical_address(text)


def _canonical_sender(text: str) -> str:
    return f"@{canonical_domain(text[1:])}" if text.startswith("@") else canonical_address(text)
