"""What a server under measurement has: ports by service, processes, CPU time, memory. Processes started here are ended here.

Invariants: everything lies in a temporary directory and listens on loopback; only processes below the one started here are
read and signalled.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DOMAIN: Final = "example.test"
PASSWORD: Final = "correct horse battery"
KINDS: Final = ("user", "empty", "argon")
"""Accounts of each kind are numbered from 0 to 63; besides there is ``big``."""
ACCOUNTS: Final = (*(f"{kind}{number}" for kind in KINDS for number in range(64)), "big")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """The server is not installed, or does not start here; the text says why."""


class Server(ABC):
    """One server: ``start`` makes its accounts and waits until it answers."""

    name: str
    services: frozenset[str]
    """Of smtp, lmtp, pop3, imap, imaps; argon2id when the accounts named so have such hashes."""
    process_each = True
    """Whether a connection has a process of its own."""

    def __init__(self, folder: Path, cores: Sequence[int] = ()) -> None:
        """``cores``: the processors it may use; empty for all."""
        self.folder = folder
        self.cores = tuple(cores)
        self.process: subprocess.Popen[bytes] | None = None
        self.ports: dict[str, int] = {}

    @abstractmethod
    def start(self) -> None:
        """Raises Unavailable."""

    def twin(self, folder: Path) -> Server:
        """Another one with the same configuration, not started, that nothing was asked of before."""
        return type(self)(folder, self.cores)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to whatever of its processes is left."""
        if self.process is None:
            return
        tree = self.pids()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in tree:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process = None

    def launch(self, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        """Start its first process, on its cores."""
        log = (self.folder / "server.log").open("ab")
        pinned = ["taskset", "-c", ",".join(map(str, self.cores))] if self.cores else []
        self.process = subprocess.Popen(
            [*pinned, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=None if env is None else {**os.environ, **env},
        )
        log.close()

    def wait_until_it_answers(self, patience: float = 30.0) -> None:
        """Until every port greets. Raises Unavailable."""
        end = time.monotonic() + patience
        for port in self.ports.values():
            while True:
                if self.process is not None and self.process.poll() is not None:
                    raise Unavailable(f"{self.name} ended at once: {self.last_words()}")
                try:
                    with socket.create_connection(("127.0.0.1", port), 2):
                        break
                except OSError:
                    if time.monotonic() > end:
                        raise Unavailable(f"{self.name} does not answer: {self.last_words()}") from None
                    time.sleep(0.05)

    def last_words(self) -> str:
        """The end of its log."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace")[-800:] if path.exists() else ""

    # --- what it costs

    def pids(self) -> list[int]:
        """Its processes now, the first one included."""
        assert self.process is not None
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            try:
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting.extend(int(child) for child in (task / "children").read_text().split())
            except OSError:
                continue
        return found

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far, those that have ended included."""
        total = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += sum(int(each) for each in fields[11:15])
        return total / _TICKS

    def memory(self) -> int:
        """PSS of all its processes in octets."""
        return sum(map(proportional_size, self.pids()))


def proportional_size(pid: int) -> int:
    """PSS of a process in octets: its own pages, and its share of those it shares. 0 when it has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    chosen: list[int] = []
    chooser = random.SystemRandom()
    while len(chosen) < count:
        port = chooser.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in chosen:
            chosen.append(port)
    return chosen
