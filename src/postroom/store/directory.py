"""The directory: domains, accounts, aliases and who may send as whom, in a SQLite database of its own.

Invariants:
- Reads are synchronous and short: a dictionary look-up while nothing changes, a point read otherwise. The cache holds only
  what ``PRAGMA data_version`` still vouches for, so a change made by any process is seen by the next call.
- Every write goes through a connection of its own (``directory_changes``), the reader's connection never writes.
- Look-ups never raise for strange names: they name nobody.

One Directory belongs to one thread, except for the methods inherited from DirectoryChanges and ``Credentials.verify``.

It must not know: protocols, mail, the mail store's shards beyond their numbers.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import apsw

from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.credentials import HashName, ScramKeys
from postroom.model.errors import LimitExceeded, NoSuchRecipient, Unavailable
from postroom.model.ids import AccountId, ShardId
from postroom.store.app_passwords import AppPassword
from postroom.store.commit_mark import CommitMark
from postroom.store.directory_bans import Ban, BanBook
from postroom.store.directory_changes import DirectoryChanges
from postroom.store.directory_entries import (
    Alias,
    Credentials,
    Domain,
    EntryExists,
    LocalTarget,
    NewAccount,
    NoSuchEntry,
    Resolution,
)
from postroom.store.directory_names import DELIMITER, find_address, find_domain, without_detail
from postroom.store.directory_passwords import PasswordRefused, PasswordScheme, check_new_password
from postroom.store.directory_schema import connect, migrate
from postroom.store.directory_secrets import SharedSecret, check_new_secret

__all__ = [
    "Alias",
    "Ban",
    "Credentials",
    "Directory",
    "Domain",
    "EntryExists",
    "LocalTarget",
    "NewAccount",
    "NoSuchEntry",
    "PasswordRefused",
    "PasswordScheme",
    "Resolution",
    "check_new_password",
    "check_new_secret",
]

_CACHE_SIZE: Final = 50_000
_STRANGERS: Final = 2_048
"""Names of nobody whose fake credentials are kept: asked for again, they cost what somebody's do (threats T10)."""
MAX_EXPANSION: Final = 1_000
"""Addresses visited while one recipient is resolved (threats S5)."""
_ACCOUNT: Final = "SELECT id, name, shard, quota, enabled FROM account "

T = TypeVar("T")


class Directory(DirectoryChanges):
    """Who is here. Raises Unavailable from any method when the file cannot be read."""

    def __init__(
        self,
        path: Path,
        scheme: PasswordScheme | None = None,
        delimiter: str = DELIMITER,
        *,
        secrets_key: Path | None = None,
    ) -> None:
        """Open the file, making or migrating it; ``delimiter`` separates a user from a sub-address (empty: nothing does);
        ``secrets_key`` is the file that holds the key of shared secrets, made with the first of them (None: one beside the
        directory). Raises Unavailable."""
        super().__init__(path, scheme, secrets_key)
        self._delimiter = delimiter
        self._cache: dict[Hashable, Any] = {}
        self._strangers = lru_cache(_STRANGERS)(self._stranger)
        self._version = 0
        self._mark = CommitMark()
        try:
            self._db = connect(path)
            migrate(self._db)
        except (apsw.Error, OSError) as error:
            raise Unavailable(private=f"directory: {error}") from error
        key = self._row("SELECT value FROM meta WHERE key = 'fake key'")
        assert key is not None
        self._fake_key: bytes = key[0]

    def close(self) -> None:
        """Release the file; idempotent."""
        self._db.close()

    @property
    def version(self) -> int:
        """Rises whenever anything in the directory may have changed; for caches of what follows from it."""
        self._look()
        return self._version

    # --- domains

    def shards(self) -> int:
        """How many shards accounts are spread over; they are numbered from 1."""
        row = self._row("SELECT count(*) FROM shard")
        assert row is not None
        return int(row[0])

    def is_local_domain(self, domain: str) -> bool:
        """Whether mail for the domain is received here; any spelling."""
        return self._domain(domain) is not None

    def domains(self) -> list[Domain]:
        """All, ordered by name."""
        return [Domain(name, catch_all) for name, catch_all in self._rows(
            "SELECT name, catch_all FROM domain ORDER BY name"
        )]  # fmt: skip

    def host_account(self, domain: str) -> Account | None:
        """The account that stands for a whole domain: its catch-all, when that is an account itself; any spelling."""
        here = self._domain(domain)
        if here is None or here.catch_all is None:
            return None
        return self.account(here.catch_all)

    def default_domain(self) -> str | None:
        """The domain that was added first: where ``postmaster`` without a domain is (RFC 5321 §4.5.1)."""
        rows = self._cached(("default",), lambda: self._rows("SELECT name FROM domain ORDER BY id LIMIT 1"))
        return rows[0][0] if rows else None

    # --- accounts

    def account(self, name: str) -> Account | None:
        """By login, in any spelling; None for nobody."""
        found = find_address(name)
        return self._account(found) if found else None

    def account_by_id(self, account: AccountId) -> Account | None:
        """By id."""
        return self._cached(("id", account), lambda: _account(self._row(_ACCOUNT + "WHERE id = ?", account)))

    def accounts(self, domain: str | None = None) -> Iterator[Account]:
        """All of them, or those of a domain, ordered by name."""
        name = None if domain is None else find_domain(domain) or ""
        rows = self._rows(
            "SELECT id, name, shard, quota, enabled FROM account"
            " WHERE ?1 IS NULL OR domain = (SELECT id FROM domain WHERE name = ?1) ORDER BY name",
            name,
        )
        for row in rows:
            account = _account(row)
            assert account is not None
            yield account

    def credentials(self, login: str) -> Credentials:
        """What to verify a login against; never fails for a name, unknown ones get stable fake keys (threats T10)."""
        name = find_address(login)
        if name is not None:
            found = self._cached(("credentials", name), lambda: self._find_credentials(name))
            if found is not None:
                return found
        self._look()
        return self._strangers(name or login[:254])

    def shared_secret_since(self, name: str) -> int | None:
        """When the account was given its shared secret, in seconds since 1970; None if it has none. Raises NoSuchEntry."""
        account = self.account(name)
        if account is None:
            raise NoSuchEntry(f"No account {name}")
        row = self._row("SELECT created FROM shared_secret WHERE account = ?", account.id)
        return int(row[0]) if row else None

    def app_passwords(self, name: str) -> tuple[AppPassword, ...]:
        """All of an account, those that have ended included, ordered by label. Raises NoSuchEntry."""
        account = self.account(name)
        if account is None:
            raise NoSuchEntry(f"No account {name}")
        return self._app_passwords(account.id)

    # --- bans

    def bans(self) -> list[Ban]:
        """All there are, those that have ended and were not swept up yet included, ordered."""
        return [
            Ban(*row)
            for row in self._rows("SELECT network, created, until, reason FROM ban ORDER BY network")
        ]

    def ban_of(self, address: str, now: float) -> Ban | None:
        """The ban that an address, in text form, falls under at a time in seconds since 1970; never of loopback."""
        book: BanBook = self._cached(("bans",), lambda: BanBook(self.bans()))
        return book.find(address, now)

    # --- aliases and senders

    def aliases(self, domain: str | None = None) -> list[Alias]:
        """All of them, or those of a domain, ordered by address."""
        name = None if domain is None else find_domain(domain) or ""
        gathered: dict[str, list[str]] = {}
        for address, target in self._rows(
            "SELECT address, target FROM alias JOIN alias_target ON alias = id"
            " WHERE ?1 IS NULL OR domain = (SELECT id FROM domain WHERE name = ?1) ORDER BY address, n",
            name,
        ):
            gathered.setdefault(address, []).append(target)
        return [Alias(address, tuple(targets)) for address, targets in gathered.items()]

    def senders(self, name: str) -> list[str]:
        """Further addresses the account may send as, ordered. Raises NoSuchEntry."""
        account = self.account(name)
        if account is None:
            raise NoSuchEntry(f"No account {name}")
        return [row[0] for row in self._rows(
            "SELECT address FROM sender WHERE account = ? ORDER BY address", account.id
        )]  # fmt: skip

    def resolve(self, address: Address) -> Resolution:
        """Everyone a recipient stands for: account, alias, sub-address, catch-all, in that order, aliases all the way.

        ``postmaster`` without a domain is looked for in the default domain. Disabled accounts are named too: whether they
        receive is the caller's affair. Raises NoSuchRecipient for an unknown address or a foreign domain, LimitExceeded
        for an expansion without reasonable end.
        """
        resolution: Resolution | None = self._cached(
            ("resolve", address.local, address.domain), lambda: self._resolve(address)
        )
        if resolution is None:
            raise NoSuchRecipient
        return resolution

    def owns(self, account: AccountId, address: Address) -> bool:
        """Whether the account may send as the address (threats S6): its own name, sub-addresses of it, aliases that name
        it directly, the catch-all's unclaimed addresses, and what ``add_sender`` gave it. A disabled account owns nothing."""
        return self._cached(
            ("owns", account, address.local, address.domain), lambda: self._owns(account, address)
        )

    # --- inner: meaning

    def _domain(self, domain: str) -> Domain | None:
        def find() -> Domain | None:
            name = find_domain(domain)
            row = self._row("SELECT name, catch_all FROM domain WHERE name = ?", name) if name else None
            return Domain(row[0], row[1]) if row else None

        return self._cached(("domain", domain), find)

    def _account(self, name: str) -> Account | None:
        return self._cached(("account", name), lambda: _account(self._row(_ACCOUNT + "WHERE name = ?", name)))

    def _targets(self, address: str) -> tuple[str, ...]:
        return self._cached(
            ("alias", address),
            lambda: tuple(
                row[0]
                for row in self._rows(
                    "SELECT target FROM alias_target WHERE alias = (SELECT id FROM alias WHERE address = ?)"
                    " ORDER BY n",
                    address,
                )
            ),
        )

    def _stranger(self, login: str) -> Credentials:
        return Credentials(
            login=login,
            account=None,
            password_hash=self.scheme.dummy,
            scram=self._fake_keys(login),
            scram_sha1=self._fake_keys(login, "sha1"),
            has_scram=False,
            has_scram_sha1=False,
            scheme=self.scheme,
            secret=self._secret(AccountId(0), None),
        )

    def _find_credentials(self, name: str) -> Credentials | None:
        row = self._row(
            "SELECT id, name, shard, quota, enabled, password, scram_salt, scram_iterations, scram_stored,"
            " scram_server, older.salt, older.iterations, older.stored, older.server, sealed"
            " FROM account LEFT JOIN scram_sha1 AS older ON older.account = id"
            " LEFT JOIN shared_secret AS shared ON shared.account = id WHERE name = ?",
            name,
        )
        account = _account(row and row[:5])
        if row is None or account is None:
            return None
        has_scram, has_scram_sha1 = row[6] is not None, row[10] is not None
        return Credentials(
            login=name,
            account=account,
            password_hash=row[5],
            scram=ScramKeys(*row[6:10]) if has_scram else self._fake_keys(name),
            scram_sha1=ScramKeys(*row[10:14]) if has_scram_sha1 else self._fake_keys(name, "sha1"),
            has_scram=has_scram,
            has_scram_sha1=has_scram_sha1,
            scheme=self.scheme,
            secret=self._secret(account.id, row[14]),
            app_passwords=self._app_passwords(account.id),
        )

    def _app_passwords(self, account: AccountId) -> tuple[AppPassword, ...]:
        return tuple(
            AppPassword(label, tuple(protocols.split()), password, created, expires)
            for label, protocols, password, created, expires in self._rows(
                "SELECT label, protocols, password, created, expires FROM app_password WHERE account = ? ORDER BY label",
                account,
            )
        )

    def _secret(self, account: AccountId, sealed: bytes | None) -> SharedSecret:
        check = self._cached(
            ("shared secrets",), lambda: self._row("SELECT value FROM meta WHERE key = 'shared secrets'")
        )
        return SharedSecret(self._key_file, check[0] if check else None, account, sealed)

    def _fake_keys(self, login: str, hash_name: HashName = "sha256") -> ScramKeys:
        """Keys nobody has the password of, the same at every look; those of both hashes differ, as real ones do."""
        prefix = b"" if hash_name == "sha256" else hash_name.encode() + b" "
        size = hashlib.new(hash_name).digest_size

        def derive(what: bytes) -> bytes:
            stated = login.encode("utf-8", "surrogatepass")
            return hmac.digest(self._fake_key, prefix + what + b"\0" + stated, "sha256")[:size]

        return ScramKeys(
            derive(b"salt")[:16], self.scheme.scram_iterations, derive(b"stored"), derive(b"server")
        )

    def _resolve(self, address: Address) -> Resolution | None:
        domain = address.domain
        if not domain and address.local.lower() == "postmaster":
            domain = self.default_domain() or ""
        local: dict[AccountId, LocalTarget] = {}
        remote: dict[str, Address] = {}
        visited: set[str] = set()
        waiting = [f"{address.local}@{domain}"]
        while waiting:
            text = waiting.pop()
            if len(visited) + len(remote) > MAX_EXPANSION:
                raise LimitExceeded("Too many addresses behind one")
            here = self._domain(text.rpartition("@")[2])
            if here is None:
                if visited:
                    user, _, foreign = text.rpartition("@")
                    remote.setdefault(text, Address(user, foreign))
                continue
            targets, account, detail = self._step(text, here)
            key = find_address(text) or text
            if key in visited:
                continue
            visited.add(key)
            if account is not None:
                local.setdefault(account.id, LocalTarget(account, detail))
            waiting.extend(reversed(targets))
        if not local and not remote:
            return None
        return Resolution(tuple(local.values()), tuple(remote.values()))

    def _step(self, text: str, here: Domain) -> tuple[tuple[str, ...], Account | None, str]:
        """What one local address stands for: further addresses, or an account with the detail."""
        name = find_address(text)
        candidates: list[tuple[str, str]] = []
        if name is not None:
            user = name.rpartition("@")[0]
            candidates.append((name, ""))
            parts = without_detail(user, self._delimiter)
            if parts:
                candidates.append((f"{parts[0]}@{here.name}", parts[1]))
        for candidate, detail in candidates:
            account = self._account(candidate)
            if account is not None:
                return (), account, detail
            targets = self._targets(candidate)
            if targets:
                return targets, None, ""
        return ((here.catch_all,) if here.catch_all else ()), None, ""

    def _owns(self, account: AccountId, address: Address) -> bool:
        owner = self.account_by_id(account)
        name = find_address(f"{address.local}@{address.domain}")
        if owner is None or not owner.enabled or name is None:
            return False
        domain = name.rpartition("@")[2]
        if self._row(
            "SELECT 1 FROM sender WHERE account = ? AND address IN (?, ?)", account, name, f"@{domain}"
        ):
            return True
        here = self._domain(domain)
        if here is None:
            return False
        targets, found, _ = self._step(name, here)
        if found is not None:
            return found.id == account
        return any(self._names(target, account) for target in targets)

    def _names(self, target: str, account: AccountId) -> bool:
        here = self._domain(target.rpartition("@")[2])
        if here is None:
            return False
        found = self._step(target, here)[1]
        return found is not None and found.id == account

    # --- inner: reading

    def _look(self) -> None:
        """Forget everything when another connection has committed."""
        try:
            moved = self._mark.moved(self._db)
        except apsw.Error as error:
            raise Unavailable(private=f"directory: {error}") from error
        if moved:
            self._version += 1
            self._cache.clear()
            self._strangers.cache_clear()

    def _cached(self, key: Hashable, find: Callable[[], T]) -> T:
        self._look()
        try:
            return cast("T", self._cache[key])
        except KeyError:
            pass
        value = find()
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[key] = value
        return value

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise Unavailable(private=f"directory: {error}") from error

    def _row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None


def _account(row: tuple[Any, ...] | None) -> Account | None:
    if row is None:
        return None
    return Account(AccountId(row[0]), row[1], ShardId(row[2]), row[3], bool(row[4]))
