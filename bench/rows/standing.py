"""IMAP on connections that stay: NOOP, one body, APPEND."""

from __future__ import annotations

from pathlib import Path

from bench.rows import CONNECTIONS, ENOUGH, Bench, Figure, Row
from bench.rows.messages import compose, message_file
from bench.server import DOMAIN, PASSWORD, Server

_LOGIN = (
    "fail a NO\nfail b NO\nfail b BAD\nfail c NO\nfail c BAD\nexpect * OK\n"
    f'send a LOGIN user${{c}}@{DOMAIN} "{PASSWORD}"\\r\\n\nexpect a OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n'
)
_LOGOUT = "send d LOGOUT\\r\\n\nexpect d OK\n"


def _run(bench: Bench, server: Server, loops: int, step: str, each: int = 1) -> Figure:
    script = f"{_LOGIN}loop\n{step}end\n{_LOGOUT}"
    found = bench.load.run(server, "imap", CONNECTIONS, bench.loops(loops, 64), script, enough=ENOUGH)
    return Figure(found.rate * each, found.cpu_ms / each)


def noop(bench: Bench, server: Server) -> Figure:
    """Commands a second."""
    return _run(bench, server, 80_000, "send c NOOP\\r\\n\nexpect c OK\n")


def one_body(bench: Bench, server: Server) -> Figure:
    """Bodies a second, of one message that is there."""
    _one_message(bench, server)
    return _run(bench, server, 40_000, "send c FETCH 1 BODY.PEEK[]\\r\\n\nexpect c OK\n")


def _one_message(bench: Bench, server: Server) -> None:
    """Each account gets one."""
    with bench.once(server, "one message") as first:
        if first:
            body = message_file(bench.folder, 4096)
            script = f"{_LOGIN}{_append_step(body)}loop\nend\n{_LOGOUT}"
            bench.load.run(server, "imap", CONNECTIONS, 1, script)


def _append_step(body: Path) -> str:
    return f"send c APPEND INBOX {{{body.stat().st_size}}}\\r\\n\nexpect +\nfile {body}\nsend \\r\\n\nexpect c OK\n"


def append(bench: Bench, server: Server) -> Figure:
    """Messages a second, 4 KB, one a command."""
    return _run(bench, server, 4_000, _append_step(message_file(bench.folder, 4096)))


def multiappend(bench: Bench, server: Server) -> Figure:
    """Messages a second, 20 in one command, with literals that are not waited for."""
    path = bench.folder / "multiappend"
    if not path.exists():
        octets = compose(4096, 1)
        path.write_bytes(
            b"c APPEND INBOX" + b"".join(b" {%d+}\r\n%b" % (len(octets), octets) for _ in range(20)) + b"\r\n"
        )
    return _run(bench, server, 500, f"file {path}\nexpect c OK\n", 20)


ROWS = (
    Row("IMAP NOOP, standing, 16 connections", "imap", "/s", noop, 2),
    Row("IMAP FETCH of one 4 KB body, standing, 16 connections", "imap", "/s", one_body, 2),
    Row("IMAP APPEND, 4 KB, 16 connections", "imap", "/s", append, 3),
    Row("IMAP MULTIAPPEND of 20, 4 KB, 16 connections", "imap", "messages/s", multiappend, 2),
)
