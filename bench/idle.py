"""Thousands of idle IMAP sessions: what each costs in memory, and how soon all of them hear of new mail.

``python -m bench.idle [--sessions 10000] [--json FILE]``; the functions give the rows to who runs them with others.

Loopback only; the server is started in a temporary directory and ended. Password hashes are made as cheap as can be: logins are
not what is measured here.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Final

from tests.support.live import DOMAIN

from bench.crowd import serving
from bench.server import proportional_size
from bench.table import heading, insert
from bench.tlsclient import Measurement, TlsClient, as_table

MESSAGE: Final = (
    b"From: a@example.test\r\nTo: b@example.test\r\nSubject: news\r\n\r\n" + b"A line of text.\r\n" * 60
)
_RECIPIENTS: Final = 100
_DELIVERING: Final = 4


def _deliver(port: int, recipients: Sequence[int]) -> dict[int, float]:
    """One message to each of these accounts by LMTP; when each was acknowledged."""
    acknowledged: dict[int, float] = {}
    with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rb") as replies:
        _expect(replies, b"220")
        line.sendall(b"LHLO bench\r\n")
        _expect(replies, b"250")
        for first in range(0, len(recipients), _RECIPIENTS):
            some = recipients[first : first + _RECIPIENTS]
            envelope = [
                f"MAIL FROM:<a@{DOMAIN}>",
                *(f"RCPT TO:<u{number}@{DOMAIN}>" for number in some),
                "DATA",
                "",
            ]
            line.sendall("\r\n".join(envelope).encode())
            for _ in envelope[2:]:
                _expect(replies, b"250")
            _expect(replies, b"354")
            line.sendall(MESSAGE + b".\r\n")
            for number in some:
                _expect(replies, b"250")
                acknowledged[number] = time.monotonic()
    return acknowledged


def _expect(replies: BinaryIO, code: bytes) -> None:
    """The last line of a reply, however many there are in front of it. Raises OSError for another code."""
    while (said := replies.readline())[3:4] == b"-":
        continue
    if not said.startswith(code):
        raise OSError(f"expected {code.decode()}, was told {said.decode(errors='replace').strip()!r}")


def notified(
    client: TlsClient, *, sessions: int = 10_000, accounts: int = 1, workers: int = 4, rounds: int = 3
) -> list[Measurement]:
    """Every session idles on TLS; one message comes to each account: seconds until the last session was told of it.

    ``accounts`` is 1 (all sessions watch one mailbox), counted from the beginning of the delivery; or as many as ``sessions``,
    counted for each from the acknowledgement of its own message, for the deliveries are another row's. The details have
    percentiles of both counts.
    """
    with serving(accounts, workers=workers) as server:
        lasts: list[float] = []
        details: dict[str, object] = {}
        for _round in range(rounds):
            idle = client.idle(server.ports["imaps"], sessions, tls=True, depth=3, names=server.names)
            with idle:
                assert idle.connected is not None
                time.sleep(2)
                idle.expect_mail()
                cpu = server.cpu_seconds()
                begun = time.monotonic()
                shares = [range(accounts)[part::_DELIVERING] for part in range(min(_DELIVERING, accounts))]
                with ThreadPoolExecutor(_DELIVERING) as threads:
                    said: dict[int, float] = {}
                    for one in threads.map(lambda share: _deliver(server.ports["lmtp"], share), shares):
                        said |= one
                told = idle.told()
                waits = sorted(each - begun for each in told)
                behind = sorted(each - said[number % accounts] for number, each in enumerate(told))
                lasts.append(waits[-1] if accounts == 1 else behind[-1])
                details = {
                    "p50_s": round(waits[len(waits) // 2], 3),
                    "p99_s": round(waits[len(waits) * 99 // 100], 3),
                    "max_s": round(waits[-1], 3),
                    "p50_behind_acknowledgement_s": round(behind[len(behind) // 2], 3),
                    "p99_behind_acknowledgement_s": round(behind[len(behind) * 99 // 100], 3),
                    "max_behind_acknowledgement_s": round(behind[-1], 3),
                    "delivered_s": round(max(said.values()) - begun, 3),
                    "server_cpu_ms_per_session": round((server.cpu_seconds() - cpu) * 1000 / sessions, 3),
                    "connecting_s": round(idle.connected.seconds, 1),
                    "server_pss_mib": round(server.memory() / 2**20, 1),
                    "rounds_s": [round(last, 3) for last in lasts],
                }
            time.sleep(1)
        where = "one mailbox" if accounts == 1 else f"{accounts} accounts"
        return [
            Measurement(
                f"{sessions} idle TLS sessions on {where}, the last notified",
                statistics.median(lasts),
                "s",
                details,
            )
        ]


def memory(client: TlsClient, *, tls: bool, depth: int, sessions: int = 1000) -> list[Measurement]:
    """KiB of PSS that a session adds: logged in (``depth`` 1) or with INBOX selected and IDLE (3), over one worker."""
    with serving(16, workers=1) as server:
        names, port = server.folder / "names", server.ports["imaps" if tls else "imap"]
        # The first sessions bring caches and code, and live in memory that password hashes have left free: they do not count.
        with client.idle(port, 3 * sessions, tls=tls, depth=depth, names=names):
            time.sleep(1)
            before = sum(map(proportional_size, server.pids()))
            with client.idle(port, sessions, tls=tls, depth=depth, names=names):
                time.sleep(2)
                added = sum(map(proportional_size, server.pids())) - before
    what = {1: "logged in", 2: "INBOX selected", 3: "in IDLE"}[depth]
    return [
        Measurement(
            f"memory of an IMAP session, {'TLS' if tls else 'plain'}, {what}",
            added / sessions / 1024, "KiB", {"sessions": sessions},
        )
    ]  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description="Idle IMAP sessions.")
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("memory", "shared", "accounts"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="put a table into this page")
    chosen = parser.parse_args()
    found: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="postroom-idle-client-") as folder:
        client = TlsClient(Path(folder))
        if chosen.only in (None, "memory"):
            for tls in (False, True):
                for depth in (1, 3):
                    found += memory(client, tls=tls, depth=depth)
                    print(found[-1], file=sys.stderr)
        for kind, accounts in (("shared", 1), ("accounts", chosen.sessions)):
            if chosen.only in (None, kind):
                found += notified(
                    client,
                    sessions=chosen.sessions,
                    accounts=accounts,
                    workers=chosen.workers,
                    rounds=chosen.rounds,
                )
                print(found[-1], file=sys.stderr)
    for each in found:
        print(f"{each.name}: {each.value:.2f} {each.unit} {json.dumps(each.details)}")
    if chosen.markdown is not None:
        page = chosen.markdown.read_text() if chosen.markdown.exists() else ""
        text = as_table(found, heading((), chosen.rounds))
        chosen.markdown.write_text(insert(page, text, "idle sessions"))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
