"""An IMAP server for transcripts of replies: clients are greeted with PREAUTH, so that cases stay short.

Every connection is over TLS and belongs to alice@example.org, unless the case needs ``greeting`` (a client that must log in),
``clear`` (the same without TLS), ``clear-allowed`` or ``no-certificate``. The time stands at 2023-11-14 22:13:20 UTC plus what
passed. ``given``:

    mail 3              that many small messages in alice's INBOX, an hour old
    message text        one message, with Python's escapes
    nested              a multipart message with a text, an enclosed message and an octet stream
    large 300000        one message of about so many octets
    mailbox Work/2024   a mailbox, superior names included
    quota 5000          octets alice may store
    limit 1000          APPENDLIMIT
    one-connection      the second connection of a user is refused

Directives: ``deliver 2`` (messages arrive in INBOX), ``expunge 7`` (UID 7 of INBOX goes, as POP3 would remove it),
``flag 7 \\Seen`` (as another session would), ``fail fetch append`` (these methods of the store raise Unavailable from then
on), ``full append`` (StorageFull), ``mend``, ``bug`` (the next access to the store is broken), ``corrupt 20`` (octets of
messages end there), ``cut-log`` (the store no longer knows what changed), ``forget`` (nor which messages there were),
``broken`` (drops what was said last).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from postroom.model.account import Account
from postroom.model.change import MailboxChanges
from postroom.model.errors import PostroomError, StorageFull, Unavailable
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import AccountId, MailboxId, Modseq
from postroom.model.message import NewMessage
from postroom.model.uidset import UidSet
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from postroom.session.imap.session import ImapServices, ImapSession, NoLimit
from postroom.session.transport import Session
from postroom.store.api import Batch, Column, Delivery, MailStore, Row
from postroom.store.directory import Directory
from postroom.store.engines.memory import MemoryStore
from postroom.wire.events import Engine
from postroom.wire.imap.responses import Kind, Untagged
from postroom.wire.imap.server import ImapServer
from tests.session.pop3.stores import CutOctets
from tests.support.inline import InlineExecutor
from tests.transcripts.harness import Case, FakeClock, FakeTransport
from tests.transcripts.pop3_scene import TLS

NOW = 1_700_000_000
NESTED = (
    b"From: Bob <bob@example.org>\r\nTo: alice@example.org\r\nSubject: outer\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"preamble\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nfirst part\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"From: carol@example.org\r\nSubject: inner\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/alternative; boundary="c"\r\n\r\n'
    b"--c\r\nContent-Type: text/plain\r\n\r\ninner text\r\n"
    b"--c\r\nContent-Type: text/html\r\n\r\n<p>inner</p>\r\n--c--\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    b"--b--\r\n"
)


def small(number: int) -> bytes:
    """One of the messages of ``given: mail``."""
    return f"From: bob@example.org\r\nSubject: number {number}\r\n\r\nHello {number}\r\n".encode()


class FailingStore:
    """A store whose methods fail on demand."""

    def __init__(self, inner: MailStore) -> None:
        self.inner = inner
        self.failing: dict[str, PostroomError] = {}
        self.bug = False
        self.octets_end: int | None = None
        self.log_is_cut = False
        self.forgets = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if name in {"watch", "failed"}:
            return value
        if self.bug:
            self.bug = False
            raise RuntimeError("a bug in the store")
        if name in self.failing:
            raise self.failing[name]
        return value

    def changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> MailboxChanges:
        """As the store's, or only that there are some."""
        found: MailboxChanges = self.__getattr__("changes")(account, mailbox, since)
        return MailboxChanges(found.modseq, complete=False) if self.log_is_cut else found

    def uids(self, account: AccountId, mailbox: MailboxId, as_of: Modseq | None = None) -> array[int]:
        """As the store's, or without what has gone since."""
        found: array[int] = self.__getattr__("uids")(account, mailbox, None if self.forgets else as_of)
        return found

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        """As the store's, octets cut."""
        read: Callable[..., Iterator[list[Row]]] = self.__getattr__("fetch")
        for batch in read(account, mailbox, uids, columns):
            if self.octets_end is None or Column.OCTETS not in columns:
                yield batch
                continue
            at = list(columns).index(Column.OCTETS)
            yield [(*row[:at], CutOctets(row[at], self.octets_end), *row[at + 1 :]) for row in batch]


class OneConnection:
    """Lets every user have one connection."""

    def __init__(self) -> None:
        self._inside: set[tuple[AccountId, str]] = set()

    def enter(self, account: AccountId, address: str) -> bool:
        """False for the second."""
        if (account, address) in self._inside:
            return False
        self._inside.add((account, address))
        return True

    def leave(self, account: AccountId, address: str) -> None:
        """Make room."""
        self._inside.discard((account, address))


class PreauthenticatedSession(ImapSession):
    """A session that need not log in (RFC 3501 §7.1.4)."""

    def __init__(
        self, transport: FakeTransport, engine: ImapServer, services: ImapServices, user: Account
    ) -> None:
        super().__init__(transport, engine, services)
        self._user = user

    async def begin(self) -> None:
        """Greet."""
        self.refresh_security()
        assert self.admit(self._user)
        self.engine.send(Untagged(Kind.PREAUTH, "alice"))


class ImapScene:
    """One server."""

    def __init__(
        self, case: Case, directory: Directory, clock: FakeClock, store: MailStore | None = None
    ) -> None:
        self._case = case
        account = directory.account("alice@example.org")
        assert account is not None
        self._account = account
        self.alice: AccountId = account.id
        self.store = FailingStore(store or MemoryStore(lambda: NOW))
        self._clock = clock
        limits = AttemptLimits(exempt=("192.0.2.0/24",))
        self._authenticator = Authenticator(directory, InlineExecutor(clock), Attempts(limits))
        self._limit = 1 << 20
        self._connections: NoLimit | OneConnection = NoLimit()

    async def prepare(self) -> None:
        """Make what is given."""
        store = self.store.inner
        await store.create_account(self.alice)
        for line in self._case.given:
            kind, _, rest = line.partition(" ")
            match kind:
                case "mail":
                    await self._deliver([small(n) for n in range(1, int(rest) + 1)])
                case "message":
                    await self._deliver([rest.encode().decode("unicode_escape").encode("latin-1")])
                case "nested":
                    await self._deliver([NESTED])
                case "large":
                    text = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * (int(rest) // 78)
                    await self._deliver([text])
                case "mailbox":
                    await store.create_mailbox(self.alice, rest)
                case "quota":
                    await store.set_quota(self.alice, int(rest))
                case "limit":
                    self._limit = int(rest)
                case "one-connection":
                    self._connections = OneConnection()
                case _:
                    raise ValueError(f"{self._case.path}: given: {line}")

    def open(self, transport: FakeTransport) -> tuple[Engine[Any], Session]:
        needs = self._case.needs
        transport.tls = None if needs & {"clear", "clear-allowed"} else TLS
        transport.cleartext_auth_allowed = "clear-allowed" in needs
        engine = ImapServer(starttls="no-certificate" not in needs, append_limit=self._limit)
        services = ImapServices(
            self.store,
            self._authenticator,
            lambda: (NOW + int(self._clock.now - 1_000), 0),
            self._limit,
            self._welcome,
            self._connections,
        )
        if needs & {"greeting", "clear", "clear-allowed"}:
            return engine, ImapSession(transport, engine, services)
        return engine, PreauthenticatedSession(transport, engine, services, self._account)

    async def directive(self, connection: FakeTransport, words: list[str]) -> None:
        store = self.store
        match words:
            case ["fail", *names]:
                store.failing.update({name: Unavailable(private="on demand") for name in names})
            case ["full", *names]:
                store.failing.update({name: StorageFull(private="on demand") for name in names})
            case ["mend"]:
                store.failing.clear()
                store.octets_end = None
            case ["cut-log"]:
                store.log_is_cut = True
            case ["forget"]:
                store.log_is_cut = store.forgets = True
            case ["bug"]:
                store.bug = True
            case ["corrupt", offset]:
                store.octets_end = int(offset)
            case ["deliver", count]:
                await self._deliver([small(n) for n in range(1, int(count) + 1)])
            case ["expunge", uid]:
                inbox = store.inner.mailbox(self.alice, "INBOX")
                await store.inner.expunge(self.alice, inbox.id, UidSet.of((int(uid),)), only_deleted=False)
            case ["flag", uid, name]:
                inbox = store.inner.mailbox(self.alice, "INBOX")
                flag = SystemFlag[name.removeprefix("\\").upper()]
                await store.inner.store_flags(
                    self.alice, inbox.id, UidSet.of((int(uid),)), FlagChange.ADD, int(flag)
                )
            case ["broken"]:
                connection.output.clear()
            case _:
                raise ValueError(f"{self._case.path}: @ {words}")

    async def close(self) -> None:
        await self.store.inner.close()

    async def _welcome(self, account: Account) -> None:
        await self.store.create_account(account.id)

    async def _deliver(self, messages: Sequence[bytes]) -> None:
        store = self.store.inner
        batch = Batch()
        for octets in messages:
            spool = store.spool(len(octets))
            waiting = spool.write(octets)
            if waiting is not None:
                await waiting
            result = await spool.finish()
            batch.deliveries.append(
                Delivery(self.alice, NewMessage(result.blob, result.facts, NOW - 3600, 60))
            )
        for outcome in await store.deliver(batch):
            assert not isinstance(outcome, Exception)
