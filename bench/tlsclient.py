"""Runs ``tlsload.c``, compiled once: handshakes, bulk reads, IMAP sessions that idle."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

HERE: Final = Path(__file__).resolve().parent
_SECONDS: Final = 300


class ClientFailed(Exception):
    """The client cannot be built or did not come to its end; the text says why."""


@dataclass(slots=True, frozen=True)
class Run:
    """One run: connections ended, octets of plaintext received, how many handshakes were abbreviated."""

    count: int
    seconds: float
    octets: int
    resumed: int
    client_cpu: float


@dataclass(slots=True, frozen=True)
class Measurement:
    """One figure of a row, as all of ``bench.tls`` and ``bench.idle`` give them."""

    name: str
    value: float
    unit: str
    details: dict[str, Any]


def as_table(found: Sequence[Measurement], title: str) -> str:
    """As a page's table, with those details that are numbers."""
    lines = [f"Measured: {title}.\n", "| work | figure | details |", "|---|---:|---|"]
    for each in found:
        numbers: dict[str, float] = {}
        for key, value in each.details.items():
            told_of = value if isinstance(value, dict) else {"": value}
            for name, number in told_of.items():
                if isinstance(number, int | float):
                    numbers[f"{key} {name}".replace("_", " ").strip()] = number
        told = ", ".join(f"{name} {number:g}" for name, number in numbers.items())
        lines.append(f"| {each.name} | {each.value:,.2f} {each.unit} | {told} |")
    return "\n".join(lines) + "\n"


class TlsClient:
    """The compiled client."""

    def __init__(self, folder: Path) -> None:
        """Raises ClientFailed without a C compiler and OpenSSL's headers."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise ClientFailed("a C compiler (cc) is needed for the TLS client")
        self._program = folder / "tlsload"
        built = subprocess.run(
            [compiler, "-O2", "-o", str(self._program), str(HERE / "tlsload.c"), "-lssl", "-lcrypto"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if built.returncode:
            raise ClientFailed(f"the TLS client does not compile (libssl-dev?): {built.stderr[-300:]}")

    def handshakes(self, port: int, connections: int, count: int, *, resume: bool) -> Run:
        """So many connections one after another on so many lines, each asking for one short answer."""
        return self._run("handshakes", port, connections, count, int(resume))

    def bulk(self, port: int, connections: int, count: int) -> Run:
        """The same with the long answer."""
        return self._run("bulk", port, connections, count)

    def idle(self, port: int, connections: int, *, tls: bool, depth: int, names: Path) -> IdleSessions:
        """IMAP sessions that stay until they are closed; see ``tlsload.c`` for ``depth`` and ``names``."""
        return IdleSessions(
            [str(self._program), "idle", str(port), str(connections), str(int(tls)), str(depth), str(names)]
        )

    def _run(self, *words: object) -> Run:
        done = subprocess.run(
            [str(self._program), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        if done.returncode:
            raise ClientFailed(done.stderr.strip()[-300:])
        return Run(**json.loads(done.stdout))


class IdleSessions:
    """Sessions that are connected when ``with`` begins and closed when it ends."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self.connected: Run | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            self.connected = Run(**json.loads(self._line()))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def expect_mail(self) -> None:
        """From now on the client waits until every session was told of new mail."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def told(self) -> list[float]:
        """When each session was told, as ``time.monotonic`` counts; waits for the last. Raises ClientFailed."""
        times: list[float] = json.loads(self._line())
        return times

    def _line(self) -> str:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            raise ClientFailed(self._process.stderr.read().strip()[-300:] or "the TLS client ended")
        return line
