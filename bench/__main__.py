"""Starts postroom and measures it: ``python -m bench [--quick] [--json FILE] [--only NAME]``.

Purpose: figures anyone can repeat, as a table and as JSON. The load comes from ``load.c``, compiled here, which costs much less
than the server; it shares the machine's cores with it.

Loopback only; every loop is bounded in count and time. Nothing here decides whether a figure is good.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from tests.support.live import DOMAIN, PASSWORD, LiveServer

from bench.memory import idle_tls_connections, proportional_size

HERE: Final = Path(__file__).resolve().parent
CONNECTIONS: Final = 16
MESSAGE: Final = (
    b"From: sender@elsewhere.test\r\nTo: user@example.test\r\nSubject: benchmark message\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <bench@elsewhere.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
)


@dataclass
class Figure:
    """One row of the result."""

    name: str
    value: float
    unit: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Bench:
    """A running server, a compiled load generator, and what has been measured."""

    server: LiveServer
    folder: Path
    scale: float
    figures: list[Figure] = field(default_factory=list)
    filled: bool = False

    def load(self, port: str, connections: int, loops: int, script: str) -> dict[str, Any]:
        """Run one script; returns the generator's report with the server's CPU seconds added."""
        path = self.folder / "script"
        path.write_text(script)
        before = self.cpu_seconds()
        done = subprocess.run(
            [
                str(self.folder / "load"),
                "127.0.0.1",
                str(self.server.port(port)),
                str(connections),
                str(loops),
                str(path),
                "60",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"load failed: {done.stderr[-1000:]}{done.stdout}")
        report: dict[str, Any] = json.loads(done.stdout)
        report["server_cpu_ms"] = round((self.cpu_seconds() - before) * 1000 / max(1, report["loops"]), 4)
        return report

    def rate(self, name: str, port: str, loops: int, script: str, connections: int = CONNECTIONS) -> None:
        """Measure loops a second."""
        report = self.load(port, connections, max(connections, int(loops * self.scale)), script)
        self.figures.append(Figure(name, report["rate"], "/s", report))

    def pids(self) -> list[int]:
        """The server's processes."""
        assert self.server.process is not None
        listed = subprocess.run(
            ["ps", "-o", "pid=", "-g", str(self.server.process.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(line) for line in listed.stdout.split()]

    def cpu_seconds(self) -> float:
        """CPU time of all of the server's processes so far."""
        total = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / 100


def message_file(folder: Path, octets: int) -> Path:
    """A message of about so many octets, ready for DATA."""
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    body = line * ((octets - len(MESSAGE)) // len(line))
    path = folder / f"message-{octets}"
    path.write_bytes(MESSAGE + body)
    return path


def lmtp(bench: Bench) -> None:
    """Durable deliveries of 4 KB messages."""
    body = message_file(bench.folder, 4096)
    bench.rate(
        "LMTP deliveries, 4 KB, 16 connections",
        "lmtp",
        20_000,
        f"fail 4\nfail 5\nexpect 220\nsend LHLO bench\\r\\n\nexpect 250 \nloop\n"
        f"send MAIL FROM:<sender@elsewhere.test>\\r\\nRCPT TO:<user${{c}}@{DOMAIN}>\\r\\nDATA\\r\\n\n"
        f"expect 354\nfile {body}\nsend .\\r\\n\nexpect 250\nend\nsend QUIT\\r\\n\nexpect 221\n",
    )


def smtp(bench: Bench) -> None:
    """The same over SMTP, one reply awaited at a time."""
    body = message_file(bench.folder, 4096)
    bench.rate(
        "SMTP deliveries, 4 KB, 16 connections",
        "smtp",
        10_000,
        f"fail 4\nfail 5\nexpect 220\nsend EHLO bench\\r\\n\nexpect 250 \nloop\n"
        f"send MAIL FROM:<sender@elsewhere.test>\\r\\n\nexpect 250\nsend RCPT TO:<user${{c}}@{DOMAIN}>\\r\\n\nexpect 250\n"
        f"send DATA\\r\\n\nexpect 354\nfile {body}\nsend .\\r\\n\nexpect 250\nend\nsend QUIT\\r\\n\nexpect 221\n",
    )


def pop3(bench: Bench) -> None:
    """Whole sessions; each maildrop holds a few hundred messages by now, so empty ones are used."""
    bench.rate(
        "POP3 sessions (login, STAT, LIST, UIDL, QUIT), 16 connections",
        "pop3",
        5_000,
        f"fail -ERR\nloop\nexpect +OK\nsend USER empty${{c}}@{DOMAIN}\\r\\n\nexpect +OK\nsend PASS {PASSWORD}\\r\\n\nexpect +OK\n"
        "send STAT\\r\\n\nexpect +OK\nsend LIST\\r\\n\nexpect .\nsend UIDL\\r\\n\nexpect .\nsend QUIT\\r\\n\nexpect +OK\n"
        "reconnect\nend\n",
    )


def imap_login(bench: Bench) -> None:
    """Login, SELECT, LOGOUT."""
    bench.rate(
        "IMAP sessions (LOGIN, SELECT, LOGOUT), 16 connections",
        "imap",
        5_000,
        f"fail * BYE [\nfail a NO\nfail a BAD\nloop\nexpect * OK\n"
        f'send a LOGIN empty${{c}}@{DOMAIN} "{PASSWORD}"\\r\\n\nexpect a OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n'
        "send c LOGOUT\\r\\n\nexpect c OK\nreconnect\nend\n",
    )


def noop(bench: Bench) -> None:
    """NOOP on standing connections."""
    bench.rate(
        "IMAP NOOP, standing, 16 connections",
        "imap",
        100_000,
        f'fail a NO\nexpect * OK\nsend a LOGIN empty${{c}}@{DOMAIN} "{PASSWORD}"\\r\\n\nexpect a OK\n'
        "send b SELECT INBOX\\r\\n\nexpect b OK\nloop\nsend c NOOP\\r\\n\nexpect c OK\nend\nsend d LOGOUT\\r\\n\nexpect d OK\n",
    )


_LOGIN: Final = (
    "fail a NO\nfail b NO\nfail b BAD\nfail c NO\nfail c BAD\nexpect * OK\n"
    f'send a LOGIN big@{DOMAIN} "{PASSWORD}"\\r\\n\nexpect a OK\n'
)


def fill_big(bench: Bench) -> int:
    """Deliver the messages of the large account, once; returns how many there are."""
    count = max(1000, int(10_000 * bench.scale))
    if not bench.filled:
        bench.filled = True
        body = message_file(bench.folder, 4096)
        bench.load(
            "lmtp",
            8,
            count,
            f"fail 4\nfail 5\nexpect 220\nsend LHLO bench\\r\\n\nexpect 250 \nloop\n"
            f"send MAIL FROM:<sender@elsewhere.test>\\r\\nRCPT TO:<big@{DOMAIN}>\\r\\nDATA\\r\\n\n"
            f"expect 354\nfile {body}\nsend .\\r\\n\nexpect 250\nend\nsend QUIT\\r\\n\nexpect 221\n",
        )
    return count


def fetch(bench: Bench) -> None:
    """FETCH of a mailbox of 10,000 messages."""
    count = fill_big(bench)
    for name, items in (
        ("flags", "FLAGS"),
        ("envelope", "FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE"),
        ("bodies", "BODY.PEEK[]"),
    ):
        report = bench.load(
            "imap",
            1,
            5,
            _LOGIN
            + f"send b SELECT INBOX\\r\\n\nexpect b OK\nloop\nsend c FETCH 1:* ({items})\\r\\n\nexpect c OK\nend\n"
            "send d LOGOUT\\r\\n\nexpect d OK\n",
        )
        bench.figures.append(
            Figure(f"FETCH 1:* ({name}) of {count} messages", count * report["rate"], "messages/s", report)
        )


def select(bench: Bench) -> None:
    """SELECT of ever larger mailboxes, made by copying a mailbox onto itself."""
    fill_big(bench)
    sizes = (1_000, 100_000, 1_000_000) if bench.scale >= 1 else (1_000, 16_000)
    for size in sizes:
        script = (
            _LOGIN + f"send b CREATE size{size}\\r\\n\nexpect b OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n"
        )
        script += (
            f"send c COPY 1:1000 size{size}\\r\\n\nexpect c OK\nsend b SELECT size{size}\\r\\n\nexpect b OK\n"
        )
        have = 1000
        while have < size:
            part = min(have, size - have, 100_000)
            script += f"send c COPY 1:{part} size{size}\\r\\n\nexpect c OK\n"
            have += part
        bench.load("imap", 1, 1, script + "loop\nend\nsend d LOGOUT\\r\\n\nexpect d OK\n")
        report = bench.load(
            "imap",
            1,
            500,
            _LOGIN
            + f"loop\nsend b EXAMINE size{size}\\r\\n\nexpect b OK\nend\nsend d LOGOUT\\r\\n\nexpect d OK\n",
        )
        bench.figures.append(Figure(f"SELECT of {size:,} messages", report["p50_ms"], "ms", report))


def memory(bench: Bench) -> None:
    """Of idle workers, and what an idle TLS connection adds."""
    count = 1000 if bench.scale >= 1 else 100
    idle = max(proportional_size(pid) for pid in bench.pids())
    bench.figures.append(Figure("memory of an idle worker (PSS)", idle / 2**20, "MiB"))
    before = sum(map(proportional_size, bench.pids()))
    with idle_tls_connections(bench.server.port("imaps"), count):
        after = sum(map(proportional_size, bench.pids()))
    bench.figures.append(Figure("memory per idle TLS connection", (after - before) / count / 1024, "KiB"))


PARTS: Final[dict[str, Callable[[Bench], None]]] = {
    "memory": memory,
    "lmtp": lmtp,
    "smtp": smtp,
    "pop3": pop3,
    "imap": imap_login,
    "noop": noop,
    "fetch": fetch,
    "select": select,
}


def prepare(server: LiveServer) -> None:
    """Accounts for every connection, one large one."""
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    names = [f"{kind}{number}" for kind in ("user", "empty") for number in range(64)] + ["big"]
    rows = "name,password\n" + "".join(f"{name}@{DOMAIN},{PASSWORD}\n" for name in names)
    table = server.root / "accounts.csv"
    table.write_text(rows)
    server.run("account", "import", str(table))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure postroom on this machine.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the work: figures are rough")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--only", choices=sorted(PARTS), action="append", help="only this part; may be repeated"
    )
    arguments = parser.parse_args()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("bench needs a C compiler (cc) for its load generator", file=sys.stderr)
        return 69
    folder = Path(tempfile.mkdtemp(prefix="postroom-bench-"))
    # Plain passwords on loopback: TLS is measured apart. Hashes are as configured by default, so logins are cached ones.
    server = LiveServer(folder / "server", workers=0, cleartext=True)
    try:
        subprocess.run([compiler, "-O2", "-o", str(folder / "load"), str(HERE / "load.c")], check=True)
        prepare(server)
        server.start()
        bench = Bench(server, folder, 0.05 if arguments.quick else 1.0)
        for name, part in PARTS.items():
            if not arguments.only or name in arguments.only:
                part(bench)
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
    report(bench.figures, arguments.json)
    return 0


def report(figures: list[Figure], file: Path | None) -> None:
    """The table, and the JSON when asked for."""
    table = Table(
        title=f"postroom on {platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    for heading in ("work", "figure", "p50 ms", "p99 ms", "server CPU ms each"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for one in figures:
        details = one.details
        shown = (
            f"{details[key]:.3f}" if key in details else "" for key in ("p50_ms", "p99_ms", "server_cpu_ms")
        )
        table.add_row(one.name, f"{one.value:,.1f} {one.unit}", *shown)
    Console().print(table)
    if file is not None:
        rows = [{"name": one.name, "value": one.value, "unit": one.unit, **one.details} for one in figures]
        file.write_text(json.dumps({"time": int(time.time()), "figures": rows}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
