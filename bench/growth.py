"""What an operation costs as work grows: messages in a mailbox, accounts on a server. postroom alone; flat is the aim.

``python -m bench.growth [--quick] [--rounds N] [--cores 0,1] [--markdown FILE] [--json FILE]``: a table for 1,000 to 1,000,000
messages in INBOX, and one for 10 to 10,000 accounts. All sizes are measured in turn, so many rounds; the figures are medians of
milliseconds for one operation on one connection, and the CPU time that all processes of the server spent on it.

Loopback only; every loop is bounded. Nothing here decides whether a figure is good.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from bench.crowd import Crowd, serving
from bench.load import Load, LoadFailed
from bench.rows import Figure
from bench.rows.messages import message_file
from bench.server import DOMAIN, PASSWORD
from bench.table import heading, insert

MESSAGES: Final = (1_000, 10_000, 100_000, 1_000_000)
ACCOUNTS: Final = (10, 1_000, 10_000)
_SAMPLE: Final = 50
"""Accounts, chosen at random, that take turns where accounts are many."""
_FETCH: Final = "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)"
MARKS: Final = {"messages": "growth of a mailbox", "accounts": "growth of a server"}


@dataclass(slots=True, frozen=True)
class Point:
    """One size on one server: ``users`` are the accounts that are asked, in turn."""

    server: Crowd
    size: int
    users: Sequence[int]


@dataclass(slots=True)
class Growth:
    """A line of the table: figures by size."""

    name: str
    measure: Callable[[Load, Point, int], Figure]
    loops: int
    figures: dict[int, list[Figure]] = field(default_factory=dict)

    def median(self, size: int) -> Figure:
        """The middle of the rounds."""
        found = self.figures[size]
        spent = [figure.cpu_ms for figure in found if figure.cpu_ms is not None]
        return Figure(
            statistics.median(figure.value for figure in found), statistics.median(spent) if spent else None
        )


def _name(user: int) -> str:
    return f"u{user}@{DOMAIN}"


def _login(user: int) -> str:
    return f'expect * OK\nsend a LOGIN {_name(user)} "{PASSWORD}"\\r\\n\nexpect a OK\n'


def _imap(command: str) -> Callable[[Load, Point, int], Figure]:
    """A command on a standing connection; a session for each account where there are several."""

    def measure(load: Load, point: Point, loops: int) -> Figure:
        script = "fail a NO\nfail a BAD\nfail b NO\nfail b BAD\n"
        step = f"send b {command}\\r\\n\nexpect b OK\n"
        if len(point.users) == 1:
            script += _login(point.users[0]) + f"loop\n{step}end\nsend c LOGOUT\\r\\n\nexpect c OK\n"
        else:
            leave = "send c LOGOUT\\r\\n\nexpect c OK\nreconnect\n"
            script += "loop\n" + "".join(_login(user) + step + leave for user in point.users) + "end\n"
        return _play(load, point, "imap", loops, script)

    return measure


def _pop3(load: Load, point: Point, loops: int) -> Figure:
    """A session: USER, PASS, STAT, QUIT."""
    script = "fail -ERR\nloop\n" + "".join(
        f"expect +OK\nsend USER {_name(user)}\\r\\n\nexpect +OK\nsend PASS {PASSWORD}\\r\\n\nexpect +OK\n"
        "send STAT\\r\\n\nexpect +OK\nsend QUIT\\r\\n\nexpect +OK\nreconnect\n"
        for user in point.users
    )
    return _play(load, point, "pop3", loops, script + "end\n")


def _delivery(load: Load, point: Point, loops: int) -> Figure:
    """A message of 4 KB by LMTP, durable."""
    body = message_file(load.folder, 4096)
    script = "fail 4\nfail 5\nexpect 220\nsend LHLO bench.test\\r\\n\nexpect 250 \nloop\n" + "".join(
        f"send MAIL FROM:<sender@elsewhere.test>\\r\\nRCPT TO:<{_name(user)}>\\r\\nDATA\\r\\n\nexpect 354\n"
        f"file {body}\nsend .\\r\\n\nexpect 250\n"
        for user in point.users
    )
    return _play(load, point, "lmtp", loops, script + "end\nsend QUIT\\r\\n\nexpect 221\n")


def _play(load: Load, point: Point, service: str, loops: int, script: str) -> Figure:
    """Some times to have everything warm in every worker, then to measure. Raises LoadFailed."""
    each = len(point.users)
    load.run(point.server, service, 1, 1 if each == 1 else 12, script)
    found = load.run(point.server, service, 1, max(2, loops // each), script)
    return Figure(found.p50_ms / each, found.cpu_ms / each)


def _wake_up(_load: Load, point: Point, loops: int) -> Figure:
    """From the last octet of a delivered message to EXISTS on a session that idles in the mailbox."""
    waits: list[float] = []
    before = point.server.cpu_seconds()
    turns = max(1, loops // len(point.users))
    for user in point.users:
        with socket.create_connection(("127.0.0.1", point.server.ports["imap"]), 30) as line:
            replies = line.makefile("rb")
            _say(line, replies, b"", b"* OK")
            _say(line, replies, f'a LOGIN {_name(user)} "{PASSWORD}"\r\n'.encode(), b"a OK")
            _say(line, replies, b"b SELECT INBOX\r\n", b"b OK")
            _say(line, replies, b"c IDLE\r\n", b"+")
            waits += [_told(point.server, user, replies) for _ in range(turns)]
            replies.close()
    spent = point.server.cpu_seconds() - before
    return Figure(statistics.median(waits), spent * 1000 / len(waits))


def _told(server: Crowd, user: int, idling: BinaryIO) -> float:
    """Milliseconds until the idling session has heard of one message."""
    with (
        socket.create_connection(("127.0.0.1", server.ports["lmtp"]), 30) as line,
        line.makefile("rb") as said,
    ):
        _say(line, said, b"", b"220")
        _say(line, said, b"LHLO bench.test\r\n", b"250 ")
        _say(line, said, f"MAIL FROM:<>\r\nRCPT TO:<{_name(user)}>\r\nDATA\r\n".encode(), b"354")
        begun = time.perf_counter()
        line.sendall(b"Subject: news\r\n\r\nnews\r\n.\r\n")
        _say(None, idling, b"", b"*", b"EXISTS")
        waited = (time.perf_counter() - begun) * 1000
        _say(line, said, b"", b"250")
    return waited


def _say(
    line: socket.socket | None, replies: BinaryIO, words: bytes, begins: bytes, holds: bytes = b""
) -> None:
    """Send words, read to the line that begins and holds so. Raises OSError at the end of the connection."""
    if line is not None and words:
        line.sendall(words)
    while heard := replies.readline():
        if heard.startswith(begins) and holds in heard:
            return
    raise OSError(f"closed before {begins!r}")


def _rows(scale: float) -> list[Growth]:
    def loops(wanted: int) -> int:
        return max(2, int(wanted * scale))

    return [
        Growth("IMAP SELECT", _imap("SELECT INBOX"), loops(500)),
        Growth("IMAP STATUS", _imap(f"STATUS INBOX {_FETCH}"), loops(1_000)),
        Growth("LMTP delivery, 4 KB", _delivery, loops(300)),
        Growth("POP3 login, STAT, QUIT", _pop3, loops(300)),
        Growth("IDLE, from the end of a message to EXISTS", _wake_up, loops(100)),
    ]


def fill(load: Load, server: Crowd, user: int, size: int) -> None:
    """So many messages in an account's INBOX: one is delivered, and the mailbox copied onto itself. Raises LoadFailed."""
    _delivery(load, Point(server, 1, (user,)), 1)  # leaves some
    script = f"fail b NO\nfail b BAD\n{_login(user)}send b SELECT INBOX\\r\\n\nexpect b OK\n"
    script += (
        "send b STORE 3:* +FLAGS.SILENT (\\\\Deleted)\\r\\n\nexpect b OK\nsend b EXPUNGE\\r\\n\nexpect b OK\n"
    )
    have = 2
    while have < size:
        part = min(have, size - have, 50_000)
        script += f"send b COPY 1:{part} INBOX\\r\\n\nexpect b OK\n"
        have += part
    script += "loop\nend\nsend c LOGOUT\\r\\n\nexpect c OK\n"
    load.run(server, "imap", 1, 1, script)


def rounds(load: Load, rows: Sequence[Growth], points: Sequence[Point], count: int) -> None:
    """Every row at every size in turn, so many times."""
    for number in range(count):
        for row in rows:
            for point in points:
                print(f"round {number + 1}: {row.name}: {point.size:,}", file=sys.stderr)
                row.figures.setdefault(point.size, []).append(row.measure(load, point, row.loops))


def table(rows: Sequence[Growth], sizes: Sequence[int], what: str, title: str) -> str:
    """As a page's table; the last column is the CPU time at the largest size over that at the smallest."""
    lines = [
        f"Measured: {title}. Milliseconds, and the server's milliseconds of CPU time.\n",
        "| work | " + " | ".join(f"{size:,} {what}" for size in sizes) + " | CPU, last / first |",
        "|---|" + "---:|" * (len(sizes) + 1),
    ]
    for row in rows:
        found = [row.median(size) for size in sizes]
        cells = [f"{figure.value:.2f}, {figure.cpu_ms or 0:.2f}" for figure in found]
        first, last = found[0].cpu_ms, found[-1].cpu_ms
        cells.append(f"{last / first:.1f}" if first and last else "")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _messages(load: Load, stack: ExitStack, sizes: Sequence[int], cores: Sequence[int]) -> list[Point]:
    server = stack.enter_context(serving(len(sizes), cores=cores))
    for user, size in enumerate(sizes):
        print(f"filling a mailbox with {size:,} messages", file=sys.stderr)
        fill(load, server, user, size)
    return [Point(server, size, (user,)) for user, size in enumerate(sizes)]


def _accounts(stack: ExitStack, sizes: Sequence[int], cores: Sequence[int]) -> list[Point]:
    chosen = random.Random(1)
    points = []
    for size in sizes:
        print(f"making {size:,} accounts", file=sys.stderr)
        server = stack.enter_context(serving(size, cores=cores))
        points.append(Point(server, size, chosen.choices(range(size), k=_SAMPLE)))
    return points


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth", description="Measure postroom as work grows."
    )
    parser.add_argument(
        "--quick", action="store_true", help="without the largest size, and a tenth of the work"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (3)")
    parser.add_argument("--only", choices=tuple(MARKS), help="one table alone")
    parser.add_argument("--cores", default="", help="processors for servers and load, such as 0,1 (all)")
    parser.add_argument("--markdown", type=Path, help="put the tables into this page")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print."""
    chosen = arguments(given)
    cores = [int(core) for core in chosen.cores.split(",") if core]
    title = heading(cores, chosen.rounds)
    folder = Path(tempfile.mkdtemp(prefix="postroom-growth-"))
    found: dict[str, object] = {"measured": title}
    with ExitStack() as outer:
        outer.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            load = Load(folder, cores)
            for what, every in (("messages", MESSAGES), ("accounts", ACCOUNTS)):
                if chosen.only not in (None, what):
                    continue
                sizes = every[:-1] if chosen.quick else every
                rows = _rows(0.1 if chosen.quick else 1.0)
                with ExitStack() as stack:
                    points = (
                        _messages(load, stack, sizes, cores)
                        if what == "messages"
                        else _accounts(stack, sizes, cores)
                    )
                    rounds(load, rows, points, chosen.rounds)
                text = table(rows, sizes, what, title)
                print(text)
                found[what] = {
                    row.name: {
                        size: [(one.value, one.cpu_ms) for one in figures]
                        for size, figures in row.figures.items()
                    }
                    for row in rows
                }
                if chosen.markdown is not None:
                    page = chosen.markdown.read_text() if chosen.markdown.exists() else ""
                    chosen.markdown.write_text(insert(page, text, MARKS[what]))
        except LoadFailed as error:
            print(error, file=sys.stderr)
            return 69
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
