r"""Plays transcripts on a session in process: no socket, a fake clock, any split of the input.

A case is a text file: a header of ``key: value`` lines, an empty line, then steps, a line each:

    title: What it shows            rfc: RFC 1939 §5        needs: words for the scene and the harness
    given: anything the scene understands (may repeat)

    # a comment
    C: text        the client sends the text and CRLF; neighbouring C lines are sent together
    C! text        the client sends the text with Python's escapes and nothing added (``C! a\x00b\n``)
    S: text        the server says exactly this line; ``<name>`` binds what is there, or must be what was bound;
                   ``<name=regex>`` must match; ``<*>`` is anything. Bound names may be used in C lines
    S! text        the same with Python's escapes
    S* text        lines are passed over up to one like this
    S{             the lines up to ``}`` come in any order
    }
    C2: S2: ...    the same on a second (third, ...) connection, opened when first named
    @ closed       the server has ended the connection
    @ eof          the client closes its side
    @ wait 61      the clock moves by so many seconds
    @ silence      the server has said nothing more
    @ shutdown     the server stops
    @ words        anything else is given to the scene (``@2 words`` for connection 2)

``needs: whole`` says that the input must not be split; everything else is played whole, octet by octet and split at
random. ``needs: bug`` says that an exception will reach the driver, otherwise none may. At the end nothing may be left unsaid.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from postroom.session.transport import Peer, Session, TlsInfo
from postroom.wire.events import Engine, Sentinel
from postroom.wire.output import BlobSlice

SAFETY_SECONDS: Final = 60
"""After this long without coming to rest a play is stuck; nothing is measured by it."""
HERE: Final = Path(__file__).parent


@dataclass
class FakeClock:
    """Seconds that pass when told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Case:
    """One transcript."""

    path: Path
    header: dict[str, list[str]]
    steps: list[Step]

    @property
    def title(self) -> str:
        return " ".join(self.header.get("title", [self.path.stem]))

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(" ".join(self.header.get("needs", [])).split())

    @property
    def given(self) -> list[str]:
        return self.header.get("given", [])


@dataclass
class Step:
    """One line, or the lines of a group in any order. ``kind`` is C, S, *, { or @."""

    kind: str
    connection: int
    line: int
    octets: bytes = b""
    text: str = ""
    group: list[Step] = field(default_factory=list)


class Scene(Protocol):
    """What a protocol brings along: a server made for one case."""

    def open(self, transport: FakeTransport) -> tuple[Engine[Any], Session]:
        """A connection has been made."""

    async def directive(self, connection: FakeTransport, words: list[str]) -> None:
        """A line ``@ words`` the harness does not know."""

    async def close(self) -> None:
        """The case has ended."""


_STEP: Final = re.compile(r"(?P<kind>C|S|@)(?P<number>\d*)(?P<mark>[:!*{]|(?<=@)|(?<=\d))(?: (?P<text>.*))?")


def load(path: Path) -> Case:
    """Read one transcript. Raises ValueError with the line that is wrong."""
    return parse(path.read_text(encoding="utf-8"), path)


def parse(text: str, path: Path) -> Case:
    """A transcript's text; ``path`` is where it is said to come from."""
    head, _, body = text.partition("\n\n")
    header: dict[str, list[str]] = {}
    for line in head.splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"{path}: not a header line: {line}")
        header.setdefault(key.strip(), []).append(value.strip())
    steps: list[Step] = []
    group: Step | None = None
    for number, line in enumerate(body.splitlines(), head.count("\n") + 3):
        if not line.strip() or line.startswith("#"):
            continue
        if line == "}" and group is not None:
            group = None
            continue
        step = _read_step(line, number, path)
        if group is not None:
            group.group.append(step)
            continue
        steps.append(step)
        if step.kind == "{":
            group = step
    return Case(path, header, steps)


def _read_step(line: str, number: int, path: Path) -> Step:
    found = _STEP.fullmatch(line)
    if found is None or not (found["mark"] or found["kind"] == "@"):
        raise ValueError(f"{path}:{number}: not a step: {line}")
    kind, mark, text = found["kind"], found["mark"], found["text"] or ""
    connection = int(found["number"] or 1)
    if kind == "@":
        return Step("@", connection, number, text=text)
    if mark == "!":
        return Step(kind, connection, number, text.encode().decode("unicode_escape").encode("latin-1"))
    octets = text.encode() + b"\r\n"
    return Step(mark if kind == "S" and mark in "*{" else kind, connection, number, octets)


def cases(folder: str) -> list[Case]:
    """All transcripts of one protocol."""
    return [load(path) for path in sorted((HERE / folder).glob("*.txt"))]


class FakeTransport:
    """One connection: the Transport of its session, and the driver of its engine."""

    def __init__(self, number: int, clock: FakeClock, peer: Peer | None = None) -> None:
        self.number = number
        self.clock = clock
        self.peer = peer or Peer("192.0.2.1", 40_000 + number, "192.0.2.25", 110)
        self.tls: TlsInfo | None = None
        self.cleartext_auth_allowed = False
        self.session_id = f"test.{number}"
        self.output = bytearray()
        self.closed = False
        self.idle = asyncio.Event()
        self.bugs: list[Exception] = []
        self.flushes = 0
        self._engine: Engine[Any] | None = None
        self._session: Session | None = None
        self._arrived = asyncio.Event()
        self._woken = self._stop = self._eof = self._stopping = False
        self._received = self._received_at_event = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, engine: Engine[Any], session: Session) -> None:
        """Begin."""
        self._engine, self._session = engine, session
        engine.handle_deadline(self.clock())
        self._task = asyncio.get_running_loop().create_task(self._run(engine, session))

    # --- what the session may ask

    async def flush(self) -> None:
        assert self._engine is not None
        self.flushes += 1
        for chunk in self._engine.data_to_send():
            if isinstance(chunk, BlobSlice):
                octets = chunk.source.read(chunk.offset, chunk.length)
                self.output += octets if isinstance(octets, bytes) else await octets
            else:
                self.output += chunk
        await asyncio.sleep(0)

    async def start_tls(self) -> None:
        if self._received != self._received_at_event:
            raise ConnectionAbortedError("octets in clear behind the command that starts TLS")
        await self.flush()
        self.tls = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")

    async def start_compression(self) -> None:
        if self._received != self._received_at_event:
            raise ConnectionAbortedError("octets behind the command that starts compression")
        await self.flush()

    async def stop_compression(self) -> None:
        await self.flush()

    async def next_event(self) -> Any:
        assert self._engine is not None
        while True:
            event = self._engine.next_event()
            if not isinstance(event, Sentinel):
                self._received_at_event = self._received
                return event
            await self.flush()
            if self._eof or self._engine.closing or self._stop or self._stopping:
                raise ConnectionAbortedError("connection ended in the middle of an exchange")
            await self._wait(self._engine)

    def wake(self) -> None:
        self._woken = True
        self._arrive()

    def stop_reading(self) -> None:
        self._stop = True
        self._arrive()

    # --- what the play does

    def feed(self, octets: bytes) -> None:
        """Octets arrive; nobody reads what comes to a closed connection."""
        if self.closed:
            return
        assert self._engine is not None
        self._received += len(octets)
        self._engine.receive_data(octets)
        self._arrive()

    def half_close(self) -> None:
        """The client sends no more."""
        assert self._engine is not None
        self._eof = True
        self._engine.receive_data(b"")
        self._arrive()

    def stop_server(self) -> None:
        """The server shuts down."""
        self._stopping = True
        self._arrive()

    def tick(self) -> None:
        """The clock has moved."""
        if self._engine is not None and not self.closed:
            deadline = self._engine.next_deadline()
            if deadline is not None and self.clock() >= deadline:
                self._engine.handle_deadline(self.clock())
            self._arrive()

    async def gone(self) -> None:
        """Cut the connection, if it still stands."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def resting(self) -> bool:
        return self.closed or (self.idle.is_set() and not self._arrived.is_set())

    def _arrive(self) -> None:
        self.idle.clear()
        self._arrived.set()

    async def _wait(self, engine: Engine[Any]) -> None:
        engine.handle_deadline(self.clock())
        if engine.output_size or engine.closing:
            return
        if not self._arrived.is_set():
            self.idle.set()
        await self._arrived.wait()
        self._arrived.clear()
        engine.handle_deadline(self.clock())

    async def _run(self, engine: Engine[Any], session: Session) -> None:
        try:
            await session.begin()
            await self._serve(engine, session)
            await self.flush()
        except ConnectionError:
            pass
        finally:
            await session.end()
            self.closed = True
            self.idle.set()

    async def _serve(self, engine: Engine[Any], session: Session) -> None:
        while True:
            event = engine.next_event()
            if not isinstance(event, Sentinel):
                self._received_at_event = self._received
                await self._guard(session, session.handle(event))
                continue
            await self.flush()
            if engine.closing or self._stop:
                return
            if self._stopping:
                await session.shutting_down()
                return
            if self._woken:
                self._woken = False
                await self._guard(session, session.woken())
            elif self._eof:
                return
            else:
                await self._wait(engine)

    async def _guard(self, session: Session, work: Any) -> None:
        try:
            await work
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the driver's own last line of defence
            self.bugs.append(error)
            await session.failed("test")


Splitter = Callable[[bytes], Iterator[bytes]]


def whole(octets: bytes) -> Iterator[bytes]:
    """All at once."""
    yield octets


def bytewise(octets: bytes) -> Iterator[bytes]:
    """Octet by octet."""
    for n in range(len(octets)):
        yield octets[n : n + 1]


def at_random(seed: int) -> Splitter:
    """In pieces whose lengths follow from the seed."""

    def split(octets: bytes) -> Iterator[bytes]:
        chance = random.Random(seed)
        at = 0
        while at < len(octets):
            step = chance.choice((1, 2, 3, 5, 17, 200))
            yield octets[at : at + step]
            at += step

    return split


SPLITTERS: Final[dict[str, Splitter]] = {
    "whole": whole,
    "bytewise": bytewise,
    "random": at_random(20_261),
}


class Play:
    """One case on one scene."""

    def __init__(self, case: Case, scene: Scene, clock: FakeClock, splitter: Splitter) -> None:
        self._case = case
        self._scene = scene
        self._clock = clock
        self._splitter = splitter
        self._bound: dict[str, str] = {}
        self.connections: dict[int, FakeTransport] = {}

    async def run(self) -> None:
        """Play all steps. Raises AssertionError with file and line."""
        try:
            async with asyncio.timeout(SAFETY_SECONDS):
                await self._steps()
        finally:
            for connection in self.connections.values():
                await connection.gone()
            await self._scene.close()
        bugs = [bug for connection in self.connections.values() for bug in connection.bugs]
        assert bool(bugs) == ("bug" in self._case.needs), f"{self._case.path}: {bugs!r}"

    async def _steps(self) -> None:
        waiting: dict[int, bytearray] = {}
        for step in self._case.steps:
            if step.kind == "C":
                self._connection(step.connection)
                waiting.setdefault(step.connection, bytearray()).extend(self._filled(step.octets))
                continue
            await self._send(waiting)
            connection = self._connection(step.connection)
            await self._settle()
            await self._check(step, connection)
        await self._send(waiting)
        await self._settle()
        for connection in self.connections.values():
            assert not connection.output, (
                f"{self._case.path}: unexpected at the end: {bytes(connection.output)!r}"
            )

    async def _send(self, waiting: dict[int, bytearray]) -> None:
        for number, octets in waiting.items():
            await self._settle()
            for piece in self._splitter(bytes(octets)):
                self.connections[number].feed(piece)
                await self._settle()
        waiting.clear()

    def _connection(self, number: int) -> FakeTransport:
        if number not in self.connections:
            transport = FakeTransport(number, self._clock)
            transport.start(*self._scene.open(transport))
            self.connections[number] = transport
        return self.connections[number]

    async def _settle(self) -> None:
        """Wait until every connection waits for its client."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0)
            quiet = quiet + 1 if all(each.resting for each in self.connections.values()) else 0

    async def _check(self, step: Step, connection: FakeTransport) -> None:
        match step.kind:
            case "S":
                self._expect(step, self._line(step, connection, len(step.octets)))
            case "*":
                while not self._matches(step, self._line(step, connection, 0)):
                    pass
            case "{":
                expected = list(step.group)
                while expected:
                    line = self._line(step, connection, 0)
                    found = next((each for each in expected if self._matches(each, line)), None)
                    if found is None:
                        self._fail(step, f"not among those expected: {line!r}")
                    expected.remove(found)
            case _:
                await self._direct(step, connection)

    async def _direct(self, step: Step, connection: FakeTransport) -> None:
        match step.text.split():
            case ["closed"]:
                if not connection.closed:
                    self._fail(step, "the connection still stands")
            case ["eof"]:
                connection.half_close()
            case ["wait", seconds]:
                self._clock.now += float(seconds)
                for each in self.connections.values():
                    each.tick()
            case ["silence"]:
                if connection.output:
                    self._fail(step, f"not silent: {bytes(connection.output)!r}")
            case ["shutdown"]:
                for each in self.connections.values():
                    each.stop_server()
            case words:
                await self._scene.directive(connection, words)
        await self._settle()

    def _line(self, step: Step, connection: FakeTransport, most: int) -> bytes:
        end = connection.output.find(b"\n") + 1
        if not end and most and not step.octets.endswith(b"\n"):
            end = min(most, len(connection.output))
        if not end:
            closed = " (connection closed)" if connection.closed else ""
            self._fail(step, f"nothing more was said{closed}; left: {bytes(connection.output[:200])!r}")
        line = bytes(connection.output[:end])
        del connection.output[:end]
        return line

    def _expect(self, step: Step, line: bytes) -> None:
        if not self._matches(step, line):
            self._fail(step, f"the server said {line!r}, expected {step.octets!r} with {self._bound}")

    def _matches(self, step: Step, line: bytes) -> bool:
        names: list[str] = []

        def placeholder(found: re.Match[str]) -> str:
            name, _, pattern = found[1].partition("=")
            if name == "*":
                return ".*"
            if name in self._bound:
                return re.escape(self._bound[name])
            names.append(name)
            return f"(?P<n{len(names) - 1}>{pattern or '.+?'})"

        expected = step.octets.decode("latin-1")
        parts = re.split(r"(<(?:\*|[a-z][a-z0-9-]*(?:=[^>]*)?)>)", expected)
        pattern = "".join(
            placeholder(found) if (found := re.fullmatch(r"<([^>]*)>", part)) and n % 2 else re.escape(part)
            for n, part in enumerate(parts)
        )
        match = re.fullmatch(pattern, line.decode("latin-1"), re.DOTALL)
        if match is None:
            return False
        self._bound.update({name: match[f"n{n}"] for n, name in enumerate(names)})
        return True

    def _filled(self, octets: bytes) -> bytes:
        for name, value in self._bound.items():
            octets = octets.replace(f"<{name}>".encode(), value.encode("latin-1"))
        return octets

    def _fail(self, step: Step, why: str) -> NoReturn:
        raise AssertionError(f"{self._case.path}:{step.line}: {why}")
