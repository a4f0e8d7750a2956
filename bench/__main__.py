"""postroom beside other servers: ``python -m bench [--quick] [--rounds N] [--peers ...] [--only TEXT] [--cores 0,1]``.

Purpose: figures anyone can repeat. Every server gets the same load on the same cores in turn, A B A B; the table shows
medians and postroom's ratio to the best of the others. A server that is not installed is left out, a row that fails on one
server is told, and the run goes on.

Loopback only; every loop is bounded in count and time. Nothing here decides whether a figure is good.
"""

from __future__ import annotations

import argparse
import imaplib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.load import Load, LoadFailed
from bench.peers.cyrus import Cyrus
from bench.peers.dovecot import Dovecot
from bench.peers.postfix import Postfix
from bench.peers.postroom import Postroom
from bench.rows import Bench, Row, delivery, logins, mailbox, memory, standing
from bench.server import Server, Unavailable
from bench.table import OURS, Result, as_json, heading, insert, markdown, show

ROWS: Final[tuple[Row, ...]] = (
    *memory.ROWS,
    *delivery.ROWS,
    *logins.ROWS,
    *standing.ROWS,
    *mailbox.ROWS,
)
PEERS: Final[dict[str, Callable[[Path, Sequence[int]], Server]]] = {
    "dovecot-mdbox": Dovecot,
    "dovecot-maildir": lambda folder, cores: Dovecot(folder, cores, style="maildir"),
    "postfix": Postfix,
    "cyrus": Cyrus,
}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure postroom beside other servers."
    )
    parser.add_argument("--quick", action="store_true", help="a twentieth of the work: figures are rough")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (3)")
    parser.add_argument(
        "--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}; empty for postroom alone"
    )
    parser.add_argument("--only", action="append", help="rows whose name holds this text; may be repeated")
    parser.add_argument("--cores", default="", help="processors for servers and load, such as 0,1 (all)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument(
        "--markdown", type=Path, help="put the table into this page, such as docs/benchmarks.md"
    )
    return parser.parse_args(given)


def choose_rows(only: Sequence[str] | None) -> list[Row]:
    """The rows whose name holds one of the texts; all when there is none."""
    return [row for row in ROWS if not only or any(text.lower() in row.name.lower() for text in only)]


def begin(servers: Sequence[Server]) -> list[Server]:
    """Start them; those that cannot be started are told and left out."""
    started = []
    for server in servers:
        print(f"starting {server.name}", file=sys.stderr)
        try:
            server.start()
        except (Unavailable, OSError, LookupError, subprocess.SubprocessError) as error:
            server.stop()
            if server.name == OURS:
                raise
            print(f"without {server.name}: {error}", file=sys.stderr)
        else:
            started.append(server)
    return started


def measure(bench: Bench, rows: Sequence[Row], servers: Sequence[Server], rounds: int) -> list[Result]:
    """Every row on every server, in turn, so many times."""
    results = [Result(row) for row in rows]
    for number in range(rounds):
        for result in results:
            row = result.row
            for server in servers:
                if row.service not in server.services or (row.alone and server.name != OURS):
                    continue
                if row.once and number > 0:
                    continue
                print(f"round {number + 1}: {row.name}: {server.name}", file=sys.stderr)
                try:
                    figure = row.measure(bench, server)
                except (
                    LoadFailed,
                    Unavailable,
                    OSError,
                    subprocess.SubprocessError,
                    imaplib.IMAP4.error,
                ) as error:
                    result.failures[server.name] = str(error)
                else:
                    result.figures.setdefault(server.name, []).append(figure)
    return results


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print."""
    chosen = arguments(given)
    cores = [int(core) for core in chosen.cores.split(",") if core]
    names = [name for name in chosen.peers.split(",") if name]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        print(f"no such peer: {', '.join(unknown)}", file=sys.stderr)
        return 64
    rows = choose_rows(chosen.only)
    if not rows:
        print(f"no row has {' or '.join(chosen.only)} in its name", file=sys.stderr)
        return 64
    folder = Path(tempfile.mkdtemp(prefix="postroom-bench-"))
    # Servers that become other users must find their files.
    folder.chmod(0o755)
    servers: list[Server] = [Postroom(folder / "postroom", cores)]
    servers += [PEERS[name](folder / name, cores) for name in names]
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda number, _frame: sys.exit(128 + number))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for server in servers:
            stack.callback(server.stop)
        try:
            bench = Bench(Load(folder, cores), folder, 0.05 if chosen.quick else 1.0, set())
            started = begin(servers)
            results = measure(bench, rows, started, chosen.rounds)
        except LoadFailed as error:
            print(error, file=sys.stderr)
            return 69
    title = heading(cores, chosen.rounds)
    shown = [server.name for server in started]
    show(results, shown, title)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"measured": title, "rows": as_json(results)}, indent=2) + "\n")
    if chosen.markdown is not None:
        page = chosen.markdown.read_text() if chosen.markdown.exists() else ""
        chosen.markdown.write_text(insert(page, markdown(results, shown, title)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
