"""A POP2 server for transcripts: a store of its own for each case, faults on demand.

Clear login is allowed unless the case needs ``clear``. Accounts: postel@usc-isif.arpa (SECRET-SECRET), smith@isi-vaxa.arpa and
jones@isi-vaxa.arpa (secret-secret), alice@example.org ("correct horse battery"). ``given``:

    octets postel 537       a message of exactly so many octets for somebody
    folder smith Old 27     a mailbox with so many small messages

Directives: ``fail expunge|lock|read|snapshot``, ``mend``, ``corrupt 70``, ``bug``, ``lock postel`` (somebody holds the
maildrop), ``free``, ``left postel 1``, ``gone postel`` (IMAP removes everything in INBOX), ``data 1 postel`` (the server
has said exactly the octets of message 1 as given and nothing else), ``part`` (the server has said something, which is
forgotten), ``drop postel Old`` (IMAP deletes a mailbox).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from postroom.model.ids import AccountId
from postroom.model.uidset import UidSet
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from postroom.session.pop2 import Pop2Session
from postroom.session.transport import Session
from postroom.store.directory import Directory, NewAccount, PasswordScheme
from postroom.wire.events import Engine
from postroom.wire.pop2.server import Pop2Server
from tests.session.pop3.stores import FaultyStore, fill, fresh_store
from tests.support.inline import InlineExecutor
from tests.transcripts.harness import Case, FakeClock, FakeTransport

CHEAP = PasswordScheme(time_cost=1, memory=8, parallelism=1, scram_iterations=4096)
LOGINS = {
    "postel": "postel@usc-isif.arpa",
    "smith": "smith@isi-vaxa.arpa",
    "jones": "jones@isi-vaxa.arpa",
    "alice": "alice@example.org",
}


def make_directory(path: Path) -> Directory:
    """The accounts named above."""
    directory = Directory(path, CHEAP)
    for domain in ("usc-isif.arpa", "isi-vaxa.arpa", "example.org"):
        directory.add_domain(domain)
    directory.import_accounts(
        [
            NewAccount(LOGINS["postel"], "SECRET-SECRET"),
            NewAccount(LOGINS["smith"], "secret-secret"),
            NewAccount(LOGINS["jones"], "secret-secret"),
            NewAccount(LOGINS["alice"], "correct horse battery"),
        ]
    )
    return directory


def message(octets: int) -> bytes:
    """Of exactly so many octets, with lines that POP3 would stuff."""
    head = b"Subject: x\r\n\r\n.\r\n..\r\n"
    return head + b"y" * (octets - len(head) - 2) + b"\r\n"


class Pop2Scene:
    """One server."""

    def __init__(self, case: Case, directory: Directory, clock: FakeClock) -> None:
        self._case = case
        self._ids: dict[str, AccountId] = {}
        for name, login in LOGINS.items():
            account = directory.account(login)
            assert account is not None
            self._ids[name] = account.id
        self.store = FaultyStore(fresh_store())
        self._given: dict[str, list[bytes]] = {name: [] for name in LOGINS}
        attempts = Attempts(AttemptLimits(exempt=("192.0.2.0/24",)))
        self._authenticator = Authenticator(directory, InlineExecutor(clock), attempts)
        self._lease: Any = None

    async def prepare(self) -> None:
        """Deliver what is given."""
        folders: list[tuple[str, str, int]] = []
        for line in self._case.given:
            match line.split():
                case ["octets", name, size]:
                    self._given[name].append(message(int(size)))
                case ["folder", name, folder, number]:
                    folders.append((name, folder, int(number)))
                case _:
                    raise ValueError(f"{self._case.path}: given: {line}")
        for name, messages in self._given.items():
            await fill(self.store, self._ids[name], messages)
        for name, folder, count in folders:
            account = self._ids[name]
            made = await self.store.create_mailbox(account, folder)
            before = set(self._inbox(name))
            await fill(self.store, account, [message(100 + n) for n in range(count)])
            fresh = UidSet.of(uid for uid in self._inbox(name) if uid not in before)
            inbox = self.store.mailbox(account, "INBOX")
            await self.store.move(account, inbox.id, fresh, made.id)

    def open(self, transport: FakeTransport) -> tuple[Engine[Any], Session]:
        transport.cleartext_auth_allowed = "clear" not in self._case.needs
        engine = Pop2Server()
        session = Pop2Session(transport, engine, self.store, self._authenticator, host="isi-vaxa.arpa")
        return engine, session

    def _inbox(self, name: str) -> list[int]:
        inbox = self.store.mailbox(self._ids[name], "INBOX")
        return list(self.store.uids(self._ids[name], inbox.id))

    async def directive(self, connection: FakeTransport, words: list[str]) -> None:
        store = self.store
        match words:
            case ["fail", what]:
                store.failing.add(what)
            case ["mend"]:
                store.failing.clear()
            case ["bug"]:
                store.failing.add("bug")
            case ["corrupt", offset]:
                store.octets_end = int(offset)
            case ["lock", name]:
                self._lease = await store.lock_maildrop(self._ids[name])
            case ["free"]:
                await self._lease.release()
            case ["left", name, count]:
                assert len(self._inbox(name)) == int(count)
            case ["gone", name]:
                inbox = store.mailbox(self._ids[name], "INBOX")
                uids = UidSet.of(self._inbox(name))
                await store.expunge(self._ids[name], inbox.id, uids, only_deleted=False)
            case ["drop", name, folder]:
                await store.delete_mailbox(self._ids[name], folder)
            case ["data", number, name]:
                assert bytes(connection.output) == self._given[name][int(number) - 1]
                connection.output.clear()
            case ["part"]:
                assert connection.output
                connection.output.clear()
            case _:
                raise ValueError(f"{self._case.path}: @ {words}")

    async def close(self) -> None:
        assert not self.store.leases or self._lease is not None, "a maildrop is still locked"
        await self.store.close()
