"""Runs ``load.c``, compiled once, on a server, and adds what the server spent."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.server import Server

HERE: Final = Path(__file__).resolve().parent
_SECONDS: Final = 120.0


class LoadFailed(Exception):
    """The script did not come to its end; the text says where."""


@dataclass(slots=True, frozen=True)
class Measured:
    """One run: loops a second, latency of a loop, the server's CPU for each."""

    loops: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    client_cpu_ms: float


class Load:
    """The compiled generator and a folder for scripts."""

    def __init__(self, folder: Path, cores: Sequence[int] = ()) -> None:
        """Raises LoadFailed without a C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise LoadFailed("a C compiler (cc) is needed for the load generator")
        self.folder = folder
        self._pinned = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
        self._program = folder / "load"
        subprocess.run([compiler, "-O2", "-o", str(self._program), str(HERE / "load.c")], check=True)

    def run(
        self,
        server: Server,
        service: str,
        connections: int,
        loops: int,
        script: str,
        *,
        enough: float = _SECONDS,
    ) -> Measured:
        """Play a script; no loop is begun after ``enough`` seconds. Raises LoadFailed."""
        path = self.folder / "script"
        path.write_text(script)
        before = server.cpu_seconds()
        done = subprocess.run(
            [
                *self._pinned, str(self._program), "127.0.0.1", str(server.ports[service]), str(connections),
                str(max(loops, 1)), str(path), str(_SECONDS), str(enough),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        spent = server.cpu_seconds() - before
        if done.returncode:
            raise LoadFailed(f"{server.name}: {done.stderr[-300:].strip()} {done.stdout.strip()}")
        report = json.loads(done.stdout)
        loops = max(1, report["loops"])
        return Measured(
            report["loops"],
            report["rate"],
            report["p50_ms"],
            report["p99_ms"],
            spent * 1000 / loops,
            report["client_cpu"] * 1000 / loops,
        )
