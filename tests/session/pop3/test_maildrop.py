"""POP3 sessions against their clients: real messages byte for byte, large maildrops, back-pressure, locks given back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from postroom.model.ids import AccountId, MailboxId, Uid
from postroom.model.mailbox import Mailbox
from postroom.model.uidset import UidSet
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from postroom.session.pop3 import Pop3Session
from postroom.store.api import Column, Row
from postroom.store.directory import Directory
from postroom.store.engines.memory import MemoryStore
from postroom.wire.events import Sentinel
from postroom.wire.pop3.client import (
    Body,
    BodyComplete,
    BodyOctets,
    ClientEvent,
    Greeting,
    Lines,
    Pop3Client,
    Response,
    ServerChallenge,
)
from postroom.wire.pop3.commands import Auth, Dele, List, Pass, Quit, Retr, Stat, Top, Uidl, User
from postroom.wire.pop3.international import Utf8
from postroom.wire.pop3.server import Pop3Server
from postroom.wire.pop3.spec import Command
from postroom.wire.sasl.scram import ScramClient
from tests.corpus import messages
from tests.session.pop3.stores import FaultyStore, fill, fresh_store
from tests.support.inline import InlineExecutor
from tests.transcripts.harness import FakeClock, FakeTransport
from tests.transcripts.pop3_scene import PASSWORD, TLS, make_directory

ALICE = "alice@example.org"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    yield made
    made.close()


class Measured(FakeTransport):
    """Remembers how much output waited at most."""

    def __init__(self, number: int, clock: FakeClock) -> None:
        super().__init__(number, clock)
        self.highest = 0

    async def flush(self) -> None:
        assert self._engine is not None
        self.highest = max(self.highest, self._engine.output_size)
        await super().flush()


@dataclass
class Connection:
    """One of our clients on one session, in process."""

    transport: Measured
    client: Pop3Client = field(default_factory=Pop3Client)

    async def events(self) -> list[ClientEvent]:
        """What the server says until it rests."""
        for chunk in self.client.data_to_send():
            assert isinstance(chunk, bytes)
            self.transport.feed(chunk)
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.transport.resting else 0
        octets, self.transport.output = bytes(self.transport.output), bytearray()
        if octets:
            self.client.receive_data(octets)
        found = []
        while not isinstance(event := self.client.next_event(), Sentinel):
            found.append(event)
        return found

    async def ask(self, *commands: Command) -> list[ClientEvent]:
        """Send commands together; all that is said in answer."""
        for command in commands:
            self.client.send(command)
        return await self.events()

    async def log_in(self, *before: Command) -> None:
        """USER and PASS."""
        assert isinstance((await self.events())[0], Greeting)
        answers = await self.ask(*before, User(ALICE), Pass(PASSWORD))
        assert all(isinstance(answer, Response) and answer.ok for answer in answers), answers


class Server:
    """Sessions for one store."""

    def __init__(self, directory: Directory) -> None:
        account = directory.account(ALICE)
        assert account is not None
        self.alice: AccountId = account.id
        self.clock = FakeClock()
        self.store = FaultyStore(fresh_store())
        limits = AttemptLimits(exempt=("192.0.2.0/24",))
        self.authenticator = Authenticator(directory, InlineExecutor(self.clock), Attempts(limits))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        transport = Measured(1, self.clock)
        transport.tls = TLS
        engine = Pop3Server()
        transport.start(engine, Pop3Session(transport, engine, self.store, self.authenticator))
        try:
            yield Connection(transport)
        finally:
            await transport.gone()


def bodies(events: list[ClientEvent]) -> list[bytes]:
    """The messages among events."""
    found: list[bytes] = []
    for event in events:
        match event:
            case Body():
                found.append(b"")
            case BodyOctets(octets):
                found[-1] += octets
            case _:
                pass
    return found


async def test_real_messages_come_out_byte_for_byte(directory: Directory) -> None:
    server = Server(directory)
    octets = [message for _, message in messages()][:1500]
    await fill(server.store, server.alice, octets)
    async with server.connection() as connection:
        await connection.log_in(Utf8())
        [stat, listing] = await connection.ask(Stat(), List())
        assert isinstance(stat, Response)
        assert stat.text == f"{len(octets)} {sum(map(len, octets))}"
        assert isinstance(listing, Lines)
        assert listing.lines == [b"%d %d" % (n, len(message)) for n, message in enumerate(octets, 1)]
        for first in range(0, len(octets), 50):
            numbers = range(first + 1, min(first + 50, len(octets)) + 1)
            retrieved = bodies(await connection.ask(*(Retr(n) for n in numbers)))
            assert len(retrieved) == len(numbers)
            for number, message in zip(numbers, retrieved, strict=True):
                expected = octets[number - 1]
                if expected and not expected.endswith(b"\r\n"):
                    expected += b"\r\n"
                assert hashlib.sha256(message).digest() == hashlib.sha256(expected).digest(), messages()[
                    number - 1
                ][0]


async def test_real_messages_without_utf8_have_the_sizes_that_list_says(directory: Directory) -> None:
    """RFC 6856 §2.1: no header in UTF-8 is sent as it is; sizes are those of what is sent, in the next session too."""
    server = Server(directory)
    octets = [message for _, message in messages()][:1500]
    await fill(server.store, server.alice, octets)
    for _ in range(2):
        async with server.connection() as connection:
            await connection.log_in()
            [listing] = await connection.ask(List())
            assert isinstance(listing, Lines)
            sizes = [int(line.split()[1]) for line in listing.lines]
            changed = 0
            for first in range(0, len(octets), 50):
                numbers = range(first + 1, min(first + 50, len(octets)) + 1)
                for number, message in zip(
                    numbers, bodies(await connection.ask(*(Retr(n) for n in numbers))), strict=True
                ):
                    original = octets[number - 1]
                    unended = bool(original) and not original.endswith(b"\r\n")
                    assert len(message) == sizes[number - 1] + 2 * unended, messages()[number - 1][0]
                    changed += sizes[number - 1] != len(original)
                    if original.isascii():
                        assert sizes[number - 1] == len(original)
            assert changed > 0


async def test_top_of_real_messages(directory: Directory) -> None:
    server = Server(directory)
    octets = [message for _, message in messages()][:300]
    await fill(server.store, server.alice, octets)
    async with server.connection() as connection:
        await connection.log_in(Utf8())
        tops = bodies(await connection.ask(*(Top(n, 3) for n in range(1, len(octets) + 1))))
    for message, top in zip(octets, tops, strict=True):
        header, empty, body = (b"\r\n" + message).partition(b"\r\n\r\n")
        lines = body.split(b"\r\n")
        rest = b"\r\n".join(lines[:3]) + (b"\r\n" if len(lines) > 3 else b"")
        expected = (header + empty + rest)[2:]
        if expected and not expected.endswith(b"\r\n"):
            expected += b"\r\n"
        assert top == expected


async def test_thousands_of_messages_are_listed_in_few_pieces(directory: Directory) -> None:
    server = Server(directory)
    await fill(server.store, server.alice, [b"Subject: x\r\n\r\n%d\r\n" % n for n in range(3_000)])
    async with server.connection() as connection:
        await connection.log_in()
        await connection.ask(Dele(2_000))
        [scan, ids] = await connection.ask(List(), Uidl())
        assert isinstance(scan, Lines)
        assert isinstance(ids, Lines)
        assert len(scan.lines) == len(ids.lines) == 2_999
        assert scan.lines[1_999] == b"2001 20"
        assert len({line.split()[1] for line in ids.lines}) == 2_999
        assert all(b"!" <= line[-1:] <= b"~" and len(line.split()[1]) <= 70 for line in ids.lines)


async def test_a_large_message_streams_through(directory: Directory) -> None:
    """RFC 1939 §5: the octets as they are, while no more than a few hundred KB wait for the peer."""
    server = Server(directory)
    message = (
        b"Subject: large\r\n\r\n" + b".\r\n..\r\n" * 100_000 + (b"x" * 76 + b"\r\n") * 100_000 + b"no end"
    )
    await fill(server.store, server.alice, [message])
    async with server.connection() as connection:
        await connection.log_in()
        events = await connection.ask(Retr(1))
        assert bodies(events) == [message + b"\r\n"]
        assert isinstance(events[-1], BodyComplete)
        assert connection.transport.highest < 500_000
        assert connection.transport.flushes > 20


async def test_top_of_a_large_message_reads_its_beginning_only(directory: Directory) -> None:
    server = Server(directory)
    await fill(server.store, server.alice, [b"Subject: large\r\n\r\n" + b"line\r\n" * 1_000_000])
    server.store.octets_end = 70_000
    async with server.connection() as connection:
        await connection.log_in()
        assert bodies(await connection.ask(Top(1, 2))) == [b"Subject: large\r\n\r\nline\r\nline\r\n"]


async def test_scram_through_the_protocol(directory: Directory) -> None:
    server = Server(directory)
    await fill(server.store, server.alice, [])
    scram = ScramClient(ALICE, PASSWORD)
    async with server.connection() as connection:
        await connection.events()
        [event] = await connection.ask(Auth("SCRAM-SHA-256", scram.initial()))
        while isinstance(event, ServerChallenge):
            connection.client.respond(scram.step(event.octets))
            [event] = await connection.events()
        assert isinstance(event, Response)
        assert event.ok
        assert scram.complete


async def test_a_new_account_has_an_empty_maildrop(directory: Directory) -> None:
    """Nothing was delivered yet: the login makes the mailboxes."""
    server = Server(directory)
    async with server.connection() as connection:
        await connection.log_in()
        [stat] = await connection.ask(Stat())
        assert stat == Response(Stat(), True, "0 0")


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_a_connection_cut_at_any_moment_gives_the_lock_back(directory: Directory, steps: int) -> None:
    server = Server(directory)
    await fill(server.store, server.alice, [b"x" * 1_000_000])
    async with server.connection() as connection:
        for command in (User(ALICE), Pass(PASSWORD), Retr(1), Dele(1), Quit()):
            connection.client.send(command)
        for chunk in connection.client.data_to_send():
            assert isinstance(chunk, bytes)
            connection.transport.feed(chunk)
        for _ in range(steps):
            await asyncio.sleep(0)
    assert not server.store.leases
    async with server.connection() as connection:
        await connection.log_in()


async def test_only_one_of_many_gets_the_maildrop(directory: Directory) -> None:
    server = Server(directory)
    await fill(server.store, server.alice, [b"x\r\n"])
    async with server.connection() as first, server.connection() as second:
        await first.log_in()
        await second.events()
        [_, refused] = await second.ask(User(ALICE), Pass(PASSWORD))
        assert isinstance(refused, Response)
        assert (refused.ok, refused.code) == (False, "IN-USE")
        await first.ask(Quit())
        [_, allowed] = await second.ask(User(ALICE), Pass(PASSWORD))
        assert isinstance(allowed, Response)
        assert allowed.ok


class CountingStore(FaultyStore):
    """Shows one message as many, and counts what a session asks of the store for them."""

    def __init__(self, inner: MemoryStore, count: int, size: int) -> None:
        super().__init__(inner)
        self.count = count
        self.size = size
        self.rows = 0
        self.fetches: list[tuple[Column, ...]] = []

    def mailbox(self, account: AccountId, name: str) -> Mailbox:
        inbox = self.inner.mailbox(account, name)
        return replace(
            inbox, messages=self.count, octets=self.count * self.size, uid_next=Uid(self.count + 1)
        )

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        self.fetches.append(tuple(columns))
        if Column.OCTETS in columns:
            self.rows += len(uids)
            yield from super().fetch(account, mailbox, UidSet.of((1,)), columns)
            return
        for first in range(1, self.count + 1, 500):
            batch: list[Row] = [(uid, self.size) for uid in range(first, min(first + 500, self.count + 1))]
            self.rows += len(batch)
            yield batch


@pytest.mark.parametrize("count", [10, 100_000])
async def test_a_maildrop_opens_without_a_look_at_its_messages(directory: Directory, count: int) -> None:
    """Login, STAT and QUIT ask for not one message, whatever INBOX holds; RETR asks for the octets of one."""
    octets = b"Subject: one of many\r\n\r\ntext\r\n"
    server = Server(directory)
    server.store = store = CountingStore(fresh_store(), count, len(octets))
    await fill(store.inner, server.alice, [octets])
    async with server.connection() as connection:
        await connection.log_in(Utf8())
        [stat] = await connection.ask(Stat())
        assert stat == Response(Stat(), True, f"{count} {count * len(octets)}")
        await connection.ask(Quit())
        assert (store.rows, store.fetches) == (0, [])
    listings: list[list[bytes]] = []
    for _ in range(2):
        async with server.connection() as connection:
            await connection.log_in(Utf8())
            [ids] = await connection.ask(Uidl())
            assert isinstance(ids, Lines)
            listings.append(ids.lines)
            assert bodies(await connection.ask(Retr(count))) == [octets]
    assert listings[0] == listings[1], "unique ids are for ever"
    assert len({line.split()[1] for line in listings[0]}) == count
    assert store.fetches == [(Column.UID, Column.SIZE), (Column.OCTETS,)] * 2
    assert store.rows == 2 * (count + 1)


async def test_unique_ids_stay_when_others_go(directory: Directory) -> None:
    server = Server(directory)
    await fill(server.store, server.alice, [b"Subject: x\r\n\r\n%d\r\n" % n for n in range(5)])
    async with server.connection() as connection:
        await connection.log_in()
        [before] = await connection.ask(Uidl())
        await connection.ask(Dele(1), Dele(3), Quit())
    await fill(server.store, server.alice, [b"Subject: new\r\n\r\nx\r\n"])
    async with server.connection() as connection:
        await connection.log_in()
        [after] = await connection.ask(Uidl())
    assert isinstance(before, Lines)
    assert isinstance(after, Lines)
    old, new = ([line.split()[1] for line in each.lines] for each in (before, after))
    assert new[:3] == [old[1], old[3], old[4]]
    assert new[3] not in old
