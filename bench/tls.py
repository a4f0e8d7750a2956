"""TLS of postroom beside ``openssl s_server`` and uvloop's own: handshakes a second, full and resumed, and bulk MB/s.

``python -m bench.tls [--quick] [--rounds N] [--json FILE]``; ``compare`` gives the rows to who runs them with others.

All three servers are one process on the same P-256 certificate, TLS 1.3 and cipher, and answer ``GET /small`` and
``GET /bulk`` with the same octets; they are asked in turn, A B C A B C, by one C client that is cheaper than each of them.
Rates on a shared machine are noise: the ratio that counts is that of CPU time for each handshake or megabyte.
uvloop is handed the whole answer at once, as a protocol would that does not know TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.server import Server, free_ports
from bench.table import heading, insert
from bench.tlsclient import Measurement, TlsClient, as_table

SERVERS: Final = ("openssl", "postroom", "uvloop")
SMALL: Final = 64
BULK: Final = 64 << 20
_BULK_CONNECTIONS: Final = 2
_CONNECTIONS: Final = 8


class TlsServer(Server):
    """One of the three."""

    def __init__(self, kind: str, folder: Path, certificate: Path, key: Path) -> None:
        super().__init__(folder)
        self.name = kind
        self._files = (certificate, key)
        self.services = frozenset({"tls"})

    def start(self) -> None:
        certificate, key = map(str, self._files)
        (port,) = free_ports(1)
        if self.name == "openssl":
            command = [
                "openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, "-HTTP", "-quiet",
                "-no_ign_eof", "-tls1_3", "-num_tickets", "1",
            ]  # fmt: skip
        else:
            command = [sys.executable, "-m", "bench.tls", "--serve", self.name, str(port), certificate, key]
        root = Path(__file__).resolve().parents[1]
        # s_server gives out the files of its directory.
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
            env={**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}, start_new_session=True,
        )  # fmt: skip
        self.ports = {"tls": port}
        self.wait_until_it_answers()


def compare(client: TlsClient, folder: Path, *, rounds: int = 3, scale: float = 1.0) -> list[Measurement]:
    """Handshakes in full, resumed, and bulk octets, of each server, with postroom's ratio to ``openssl s_server``."""
    certificate, key = make_certificate(folder)
    (folder / "small").write_bytes(answer(SMALL))
    (folder / "bulk").write_bytes(answer(BULK))
    servers = [TlsServer(kind, folder, certificate, key) for kind in SERVERS]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {
        what: {kind: [] for kind in SERVERS} for what in ("full", "resumed", "bulk")
    }
    try:
        for server in servers:
            server.start()
            client.handshakes(server.ports["tls"], 1, 20, resume=False)
        for _ in range(rounds):
            for what, figures in found.items():
                for server in servers:
                    figures[server.name].append(_measure(client, server, what, scale))
    finally:
        for server in servers:
            server.stop()
    return [_figure(what, figures) for what, figures in found.items()]


def _measure(client: TlsClient, server: TlsServer, what: str, scale: float) -> tuple[float, float]:
    """(rate, server's CPU milliseconds each): of handshakes, or of megabytes."""
    port, before = server.ports["tls"], server.cpu_seconds()
    if what == "bulk":
        run = client.bulk(port, _BULK_CONNECTIONS, max(2, int(16 * scale)))
        units = run.octets / 1e6
    else:
        count = max(100, int(4000 * scale))
        run = client.handshakes(port, _CONNECTIONS, count, resume=what == "resumed")
        units = float(run.count)
        if (what == "resumed") != (run.resumed > count // 2):
            raise AssertionError(f"{server.name}: {run.resumed} of {count} handshakes were resumed")
    return units / run.seconds, (server.cpu_seconds() - before) * 1000 / units


def _figure(what: str, figures: dict[str, list[tuple[float, float]]]) -> Measurement:
    rates = {kind: statistics.median(rate for rate, _ in each) for kind, each in figures.items()}
    cpu = {kind: statistics.median(spent for _, spent in each) for kind, each in figures.items()}
    unit = "MB/s" if what == "bulk" else "handshakes/s"
    details: dict[str, Any] = {
        "rate": {kind: round(rate, 1) for kind, rate in rates.items()},
        "cpu_ms_each": {kind: round(spent, 4) for kind, spent in cpu.items()},
        "ratio_rate": {
            kind: round(rates["postroom"] / rates[kind], 2) for kind in SERVERS if kind != "postroom"
        },
        "ratio_cpu": {kind: round(cpu[kind] / cpu["postroom"], 2) for kind in SERVERS if kind != "postroom"},
    }
    name = "TLS bulk" if what == "bulk" else f"TLS handshakes, {what}"
    return Measurement(name, rates["postroom"], unit, details)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A P-256 certificate for localhost and its key."""
    certificate, key = folder / "c.pem", folder / "k.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def answer(size: int) -> bytes:
    """What ``GET`` of so many octets is answered with; the same every time."""
    return (b"The quick brown fox jumps over the lazy dog, again and again.\r\n" * (size // 63 + 1))[:size]


# --- the servers in Python, in a process of their own


async def _serve(kind: str, port: int, certificate: Path, key: Path) -> None:
    from postroom.net.tls import server_context

    context = server_context(certificate, key, "imap")
    if kind == "postroom":
        from bench.tlsserver import postroom_service

        await postroom_service(context, port)
    else:
        from bench.tlsserver import UvloopAnswers

        await asyncio.get_running_loop().create_server(
            UvloopAnswers, "127.0.0.1", port, ssl=context, backlog=511
        )
    await asyncio.Event().wait()


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    if words[:1] == ["--serve"]:
        from postroom.app.process import new_event_loop, tune_allocator

        tune_allocator()
        new_event_loop().run_until_complete(_serve(words[1], int(words[2]), Path(words[3]), Path(words[4])))
        return 0
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description="TLS beside openssl s_server.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="put a table into this page")
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="postroom-tls-") as name:
        begun = time.monotonic()
        found = compare(
            TlsClient(Path(name)), Path(name), rounds=chosen.rounds, scale=0.1 if chosen.quick else 1.0
        )
        print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    for each in found:
        print(f"{each.name}: {each.value:.1f} {each.unit}\n  {json.dumps(each.details)}")
    if chosen.markdown is not None:
        page = chosen.markdown.read_text() if chosen.markdown.exists() else ""
        text = as_table(found, heading((), chosen.rounds))
        chosen.markdown.write_text(insert(page, text, "TLS"))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
