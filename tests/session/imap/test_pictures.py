"""What a client makes of EXISTS, EXPUNGE, VANISHED and FETCH is always what is in the mailbox (RFC 3501 §5.2, §7.3, §7.4,
RFC 7162 §3.2).

Two clients and a delivering server do things at random. Each client keeps a picture, changed only by what the session tells it
and by what it stored silently itself; whenever a command that may report EXPUNGE ends with OK, the picture is the mailbox. The
second client speaks IMAP4rev2. A client that knows QRESYNC leaves now and then, and goes on with the picture it had.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import ShardId
from postroom.model.uidset import UidSet
from postroom.store.api import Column, MailStore
from postroom.store.directory import Directory
from postroom.store.opening import open_store
from postroom.wire.imap.values.flags import WRITTEN
from tests.transcripts.harness import Case, FakeClock, FakeTransport
from tests.transcripts.imap_scene import ImapScene
from tests.transcripts.pop3_scene import make_directory

FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "Word")
COMMANDS = {
    "enable": "ENABLE CONDSTORE",
    "append": "APPEND INBOX ({flag}) {{4+}}\r\nx: y",
    "expunge": "EXPUNGE",
    "noop": "NOOP",
    "check": "CHECK",
    "uid expunge": "UID EXPUNGE 1:7",
    "uid fetch": "UID FETCH 3:* (FLAGS)",
    "uid store": "UID STORE 2:5 -FLAGS ({flag})",
    "since": "UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})",
    "fetch": "FETCH {low}:{high} (UID FLAGS)",
    "read": "FETCH {low}:{high} (BODY[]<0.1>)",
    "store": "STORE {low}:{high} +FLAGS ({flag})",
    "replace": "STORE {low}:{high} FLAGS ({flag})",
    "silent": "STORE {low}:{high} +FLAGS.SILENT ({flag})",
    "unless changed": "STORE {low}:{high} (UNCHANGEDSINCE {modseq}) +FLAGS ({flag})",
    "search": "SEARCH {low}:{high} UNSEEN",
    "copy": "COPY {low}:{high} INBOX",
    "move": "MOVE {low}:{high} Trash",
}
_UNTAGGED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*))?\r\n")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([0-9:,]+)\r\n")
_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d+)\]")
_UID = re.compile(rb"UID (\d+)")
_NO_EXPUNGE = re.compile(r"FETCH|STORE|SEARCH")


@dataclass
class Entry:
    """One message as the client knows it; None for what it has not been told."""

    uid: int | None = None
    flags: frozenset[str] | None = None


@dataclass
class Client:
    """One connection and its picture."""

    transport: FakeTransport
    picture: list[Entry] = field(default_factory=list)
    modseq: int = 1
    tags: int = 0
    validity: int = 0
    qresync: bool = False

    async def settle(self) -> None:
        """Until the server waits."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.transport.resting else 0

    async def say(self, text: str, *, silent: frozenset[str] = frozenset()) -> bytes:
        """Send a command and take in what comes; returns the tagged line, with ``silent`` flags added to what it named."""
        self.tags += 1
        tag = b"t%d" % self.tags
        self.transport.feed(tag + b" " + text.encode() + b"\r\n")
        await self.settle()
        ended = self.take_in(tag, may_expunge=_NO_EXPUNGE.match(text) is None)
        if silent:
            self._add_silently(text, silent)
        return ended

    def take_in(self, tag: bytes = b"", *, may_expunge: bool = True) -> bytes:
        """Apply all untagged responses; returns the tagged one."""
        lines = bytes(self.transport.output).splitlines(keepends=True)
        self.transport.output.clear()
        ended = b""
        for line in lines:
            assert not line.startswith(b"* BYE"), line
            if tag and line.startswith(tag + b" "):
                ended = line
                continue
            if line.startswith(b"* ENABLED") and b"QRESYNC" in line:
                self.qresync = True
            gone = _VANISHED.fullmatch(line)
            if gone is not None:
                assert self.qresync
                assert may_expunge or gone[1], "VANISHED while numbers are in use"
                self._vanished(gone[2], earlier=gone[1] is not None)
                continue
            validity = _VALIDITY.search(line)
            if validity is not None:
                self.validity = int(validity[1])
            found = _UNTAGGED.fullmatch(line)
            if found is None:
                told = re.search(rb"HIGHESTMODSEQ (\d+)", line)
                if told is not None:
                    self.modseq = int(told[1])
                continue
            number, kind, data = int(found[1]), found[2], found[3]
            if kind == b"EXISTS":
                assert number >= len(self.picture), "EXISTS never takes away"
                self.picture += [Entry() for _ in range(number - len(self.picture))]
            elif kind == b"EXPUNGE":
                assert may_expunge, "EXPUNGE while numbers are in use"
                assert not self.qresync, "EXPUNGE in place of VANISHED"
                del self.picture[number - 1]
            else:
                self._fetched(self.picture[number - 1], data)
        assert ended or not tag, (tag, lines)
        return ended

    def _vanished(self, uids: bytes, *, earlier: bool) -> None:
        for piece in uids.decode().split(","):
            first, _, last = piece.partition(":")
            for uid in range(int(first), int(last or first) + 1):
                place = self._place(uid)
                assert place is not None or earlier, "VANISHED names what was never there"
                if place is not None and not (earlier and self.picture[place].uid is None):
                    del self.picture[place]

    def _place(self, uid: int) -> int | None:
        """Where a UID is, or where the only ones that may be it are."""
        for place, entry in enumerate(self.picture):
            if entry.uid == uid:
                return place
            if entry.uid is None:
                following = [one.uid for one in self.picture[place:] if one.uid is not None]
                if uid not in following and (not following or following[0] > uid):
                    return place
            elif entry.uid > uid:
                return None
        return None

    async def resume(self, away: Callable[[], Awaitable[None]]) -> None:
        """Leave, and come back with what is known (RFC 7162 §3.2.5)."""
        assert b" OK " in await self.say("NOOP")
        if self.picture:
            assert b" OK " in await self.say("FETCH 1:* (UID FLAGS)")
        assert b" OK " in await self.say("UNSELECT")
        await away()
        known = ",".join(str(entry.uid) for entry in self.picture)
        text = f"SELECT INBOX (QRESYNC ({self.validity} {self.modseq}{' ' if known else ''}{known}))"
        self.tags += 1
        tag = b"t%d" % self.tags
        self.transport.feed(tag + b" " + text.encode() + b"\r\n")
        await self.settle()
        # VANISHED (EARLIER) concerns what was known; EXISTS comes before it and counts what is there now.
        told = bytes(self.transport.output)
        for gone in _VANISHED.finditer(told):
            self._vanished(gone[2], earlier=True)
        exists = re.search(rb"\* (\d+) EXISTS", told)
        assert exists is not None
        more = int(exists[1]) - len(self.picture)
        assert more >= 0
        self.picture += [Entry() for _ in range(more)]
        assert b" OK " in self.take_in(tag)

    def _fetched(self, entry: Entry, data: bytes) -> None:
        uid, flags = _UID.search(data), _FLAGS.search(data)
        if uid is not None:
            assert entry.uid in {None, int(uid[1])}, "a number stands for another message"
            entry.uid = int(uid[1])
        if flags is not None:
            entry.flags = frozenset(flags[1].decode().split()) - {"\\Recent"}

    def _add_silently(self, text: str, flags: frozenset[str]) -> None:
        first, last = sorted(int(number) for number in text.split()[1].split(":"))
        for entry in self.picture[first - 1 : last]:
            if entry.flags is not None:
                entry.flags |= flags


class World:
    """A scene with two clients."""

    def __init__(self, directory: Directory, messages: int, store: MailStore | None = None) -> None:
        case = Case(Path("pictures"), {"given": [f"mail {messages}"] if messages else []}, [])
        self.scene = ImapScene(case, directory, FakeClock(), store)
        self.clients: list[Client] = []

    async def open(self) -> None:
        """Connect both and open INBOX."""
        await self.scene.prepare()
        for number in (1, 2):
            transport = FakeTransport(number, FakeClock())
            transport.start(*self.scene.open(transport))
            client = Client(transport)
            self.clients.append(client)
            if number == 2:
                assert b" OK " in await client.say("ENABLE IMAP4rev2")
            await self.select(client)

    async def select(self, client: Client) -> None:
        """Select, and learn everything."""
        client.picture.clear()
        assert b" OK " in await client.say("SELECT INBOX")
        if client.picture:
            assert b" OK " in await client.say("FETCH 1:* (UID FLAGS)")

    def check(self, client: Client) -> None:
        """The picture against the mailbox."""
        store, alice = self.scene.store.inner, self.scene.alice
        inbox = store.mailbox(alice, "INBOX").id
        columns = (Column.UID, Column.FLAGS, Column.KEYWORDS)
        rows = [row for batch in store.fetch(alice, inbox, UidSet([(1, 1 << 31)]), columns) for row in batch]
        assert len(client.picture) == len(rows)
        for entry, (uid, bits, words) in zip(client.picture, rows, strict=True):
            assert entry.uid in {None, uid}
            if entry.flags is not None:
                assert entry.flags == frozenset(WRITTEN[bits].decode().split() + words.split())

    async def close(self) -> None:
        """End both."""
        for client in self.clients:
            await client.transport.gone()
            assert client.transport.bugs == []
        await self.scene.close()

    async def do(self, who: int, what: str, low: int, high: int, flag: str) -> None:
        """One step, as far as it means something now: a command of one client, or something that happens by itself."""
        client = self.clients[who]
        count = len(client.picture)
        low, high = sorted((low % count + 1, high % count + 1)) if count else (0, 0)
        if what in COMMANDS:
            if count or "{low}" not in COMMANDS[what]:
                words = {"low": low, "high": high, "flag": flag, "modseq": client.modseq}
                silent = frozenset({flag}) if "SILENT" in COMMANDS[what] else frozenset()
                await client.say(COMMANDS[what].format(**words), silent=silent)
        elif what == "select":
            await self.select(client)
        elif what == "idle":
            await self.idle(client)
        elif what == "qresync":
            assert b" OK " in await client.say("ENABLE QRESYNC")
        elif what == "resume":
            if client.qresync:
                await client.resume(lambda: self.away(low or 1, high or 1, flag))
                self.check(client)
        else:
            await self.happen(what, low or 1, high or 1)

    async def away(self, low: int, high: int, flag: str) -> None:
        """What happens while one of them is away; ``flag`` says what."""
        for what in {"\\Seen": ("remove",), "\\Flagged": ("mark", "deliver"), "Word": ()}.get(
            flag, ("deliver", "remove", "mark")
        ):
            await self.happen(what, low, high)

    async def happen(self, what: str, low: int, high: int) -> None:
        """What others do to UIDs."""
        store, alice = self.scene.store.inner, self.scene.alice
        inbox = store.mailbox(alice, "INBOX").id
        if what == "deliver":
            await self.scene.directive(self.clients[0].transport, ["deliver", "2"])
        elif what == "remove":
            await store.expunge(alice, inbox, UidSet([(low, high)]), only_deleted=False)
        else:
            flagged = int(SystemFlag.ANSWERED)
            await store.store_flags(alice, inbox, UidSet([(low, high + 1)]), FlagChange.ADD, flagged)

    async def idle(self, client: Client) -> None:
        """IDLE, while mail comes and goes."""
        client.transport.feed(b"i IDLE\r\n")
        await client.settle()
        store, alice = self.scene.store.inner, self.scene.alice
        inbox = store.mailbox(alice, "INBOX").id
        await self.scene.directive(client.transport, ["deliver", "1"])
        await client.settle()
        await store.expunge(alice, inbox, UidSet([(2, 3)]), only_deleted=False)
        await client.settle()
        client.take_in()
        self.check(client)
        client.transport.feed(b"DONE\r\n")
        await client.settle()
        client.take_in(b"i")


STEPS = st.tuples(
    st.sampled_from((0, 1)),
    st.sampled_from((*COMMANDS, "select", "idle", "qresync", "resume", "deliver", "remove", "mark")),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(FLAGS),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    yield made
    made.close()


Steps = list[tuple[int, str, int, int, str]]


async def _play(directory: Directory, messages: int, steps: Steps, store: MailStore | None = None) -> None:
    world = World(directory, messages, store)
    await world.open()
    try:
        for step in steps:
            await world.do(*step)
        for client in world.clients:
            assert b" OK " in await client.say("NOOP")
            world.check(client)
            if client.picture:
                assert b" OK " in await client.say("FETCH 1:* (UID FLAGS)")
            world.check(client)
    finally:
        await world.close()


async def _play_on_sqlite(directory: Directory, messages: int, steps: Steps) -> None:
    loop = asyncio.get_running_loop()

    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        return await loop.run_in_executor(None, function, *arguments)

    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        (place / "blobs").mkdir()
        paths = {ShardId(0): place / "0.sqlite"}
        store = open_store(paths, place / "blobs", loop=loop, run=run, gather=asyncio.gather)
        await _play(directory, messages, steps, store)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.integers(0, 6), steps=st.lists(STEPS, max_size=25))
def test_pictures_are_the_mailbox(directory: Directory, messages: int, steps: Steps) -> None:
    asyncio.run(_play(directory, messages, steps))


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.integers(0, 6), steps=st.lists(STEPS, min_size=5, max_size=25))
def test_pictures_are_the_mailbox_on_sqlite(directory: Directory, messages: int, steps: Steps) -> None:
    asyncio.run(_play_on_sqlite(directory, messages, steps))
