"""Whole sessions: POP3 and IMAP, with plain and with argon2id passwords."""

from __future__ import annotations

from bench.rows import CONNECTIONS, ENOUGH, Bench, Figure, Row
from bench.rows.messages import message_file
from bench.server import DOMAIN, PASSWORD, Server

_POP3 = "fail -ERR\nloop\nexpect +OK\nsend USER {user}\\r\\n\nexpect +OK\nsend PASS {password}\\r\\n\nexpect +OK\n"
_IMAP = 'fail a NO\nfail a BAD\nfail * BYE [\nloop\nexpect * OK\nsend a LOGIN {user} "{password}"\\r\\n\nexpect a OK\n'
_SELECT = "send b SELECT INBOX\\r\\n\nexpect b OK\nsend c LOGOUT\\r\\n\nexpect c OK\nreconnect\nend\n"


def _begin(script: str, kind: str) -> str:
    return script.format(user=f"{kind}${{c}}@{DOMAIN}", password=PASSWORD)


def _warm(bench: Bench, server: Server, service: str, script: str, what: str) -> None:
    """Everybody logs in once before anything is measured: passwords are remembered, processes have started."""
    with bench.once(server, what) as first:
        if first:
            bench.load.run(server, service, CONNECTIONS, 4 * CONNECTIONS, script)


def pop3(bench: Bench, server: Server) -> Figure:
    """Sessions a second on an empty maildrop."""
    script = _begin(_POP3, "empty") + (
        "send STAT\\r\\n\nexpect +OK\nsend LIST\\r\\n\nexpect .\nsend UIDL\\r\\n\nexpect .\nsend QUIT\\r\\n\nexpect +OK\n"
        "reconnect\nend\n"
    )
    _warm(bench, server, "pop3", script, "pop3")
    found = bench.load.run(server, "pop3", CONNECTIONS, bench.loops(6_000, 64), script, enough=ENOUGH)
    return Figure(found.rate, found.cpu_ms)


def pop3_retr(bench: Bench, server: Server) -> Figure:
    """Sessions a second that fetch 20 messages of 4 KB, one reply awaited at a time."""
    with bench.once(server, "maildrops") as first:
        if first:
            _fill_maildrops(bench, server)
    fetches = "".join(f"send RETR {number}\\r\\n\nexpect .\n" for number in range(1, 21))
    script = _begin(_POP3, "empty").replace("${c}", "${c+16}") + (
        "send STAT\\r\\n\nexpect +OK\nsend LIST\\r\\n\nexpect .\nsend UIDL\\r\\n\nexpect .\n"
        + fetches
        + "send QUIT\\r\\n\nexpect +OK\nreconnect\nend\n"
    )
    _warm(bench, server, "pop3", script, "pop3 retr")
    found = bench.load.run(server, "pop3", CONNECTIONS, bench.loops(1_500, 64), script, enough=ENOUGH)
    return Figure(found.rate, found.cpu_ms)


def _fill_maildrops(bench: Bench, server: Server) -> None:
    """20 messages for each of the accounts empty16 to empty31."""
    body = message_file(bench.folder, 4096)
    for number in range(16, 32):
        script = (
            "fail 4\nfail 5\nexpect 220\nsend LHLO bench.test\\r\\n\nexpect 250 \nloop\n"
            "send MAIL FROM:<sender@elsewhere.test>\\r\\n\nexpect 250\n"
            f"send RCPT TO:<empty{number}@{DOMAIN}>\\r\\n\nexpect 250\n"
            f"send DATA\\r\\n\nexpect 354\nfile {body}\nsend .\\r\\n\nexpect 250\nend\n"
            "send QUIT\\r\\n\nexpect 221\n"
        )
        bench.load.run(server, "lmtp", 1, 20, script)


def imap(bench: Bench, server: Server) -> Figure:
    """Sessions a second: LOGIN, SELECT, LOGOUT."""
    script = _begin(_IMAP, "empty") + _SELECT
    _warm(bench, server, "imap", script, "imap")
    found = bench.load.run(server, "imap", CONNECTIONS, bench.loops(6_000, 64), script, enough=ENOUGH)
    return Figure(found.rate, found.cpu_ms)


def _argon(first: int) -> str:
    """Sessions of 16 accounts from that one on, whose passwords have argon2id hashes."""
    script = _begin(_IMAP, "argon").replace("${c}", f"${{c+{first}}}")
    return script + "send c LOGOUT\\r\\n\nexpect c OK\nreconnect\nend\n"


def argon_first(bench: Bench, server: Server) -> Figure:
    """First logins a second of 16 users, others in each of four rounds."""
    first = bench.turn(server, "argon2id") % 4 * 16
    found = bench.load.run(server, "imap", CONNECTIONS, CONNECTIONS, _argon(first))
    return Figure(found.rate, found.cpu_ms)


def argon_again(bench: Bench, server: Server) -> Figure:
    """Logins a second of 16 users who logged in a moment ago."""
    script = _argon(0)
    bench.load.run(server, "imap", CONNECTIONS, CONNECTIONS, script)
    found = bench.load.run(
        server, "imap", CONNECTIONS, bench.loops(4_000, CONNECTIONS), script, enough=ENOUGH
    )
    return Figure(found.rate, found.cpu_ms)


ROWS = (
    Row("POP3 login, STAT, LIST, UIDL, QUIT, 16 connections", "pop3", "/s", pop3, 4),
    Row("the same with RETR of 20 messages", "pop3", "/s", pop3_retr, 3),
    Row("IMAP LOGIN, SELECT, LOGOUT, 16 connections", "imap", "/s", imap, 4),
    Row("IMAP logins, argon2id, 16 users, first", "argon2id", "/s", argon_first, 2),
    Row("IMAP logins, argon2id, 16 users, again", "argon2id", "/s", argon_again, 50),
)
