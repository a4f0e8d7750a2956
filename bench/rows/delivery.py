"""Mail in: LMTP and SMTP, each message durable before it is acknowledged."""

from __future__ import annotations

import imaplib
import time

from bench.load import LoadFailed
from bench.peers.postfix import Postfix
from bench.rows import CONNECTIONS, ENOUGH, Bench, Figure, Row
from bench.rows.messages import message_file
from bench.server import DOMAIN, PASSWORD, Server


def _script(verb: str, body: object, account: str) -> str:
    """One message a loop, each reply awaited but the data's."""
    return (
        f"fail 4\nfail 5\nexpect 220\nsend {verb} bench.test\\r\\n\nexpect 250 \nloop\n"
        f"send MAIL FROM:<sender@elsewhere.test>\\r\\n\nexpect 250\nsend RCPT TO:<{account}@{DOMAIN}>\\r\\n\nexpect 250\n"
        f"send DATA\\r\\n\nexpect 354\nfile {body}\nsend .\\r\\n\nexpect 250\nend\nsend QUIT\\r\\n\nexpect 221\n"
    )


def deliver(bench: Bench, server: Server, service: str, octets: int, connections: int, count: int) -> Figure:
    """Messages a second; on a server that stores later, until the last one is in its mailbox."""
    body = message_file(bench.folder, octets)
    script = _script("LHLO" if service == "lmtp" else "EHLO", body, "user${c}")
    loops = bench.loops(count, connections)
    if isinstance(server, Postfix):
        return _stored(bench, server, connections, loops, script)
    before = _messages(server, connections)
    found = bench.load.run(server, service, connections, loops, script, enough=ENOUGH)
    arrived = _messages(server, connections) - before
    if arrived != found.loops:
        raise LoadFailed(f"{found.loops} messages were acknowledged, {arrived} are in their mailboxes")
    return Figure(found.rate, found.cpu_ms)


def _messages(server: Server, accounts: int) -> int:
    """How many messages the accounts have that mail is delivered to."""
    total = 0
    for number in range(accounts):
        with imaplib.IMAP4("127.0.0.1", server.ports["imap"]) as line:
            line.login(f"user{number}@{DOMAIN}", PASSWORD)
            _, answer = line.status("INBOX", "(MESSAGES)")
            total += int(answer[0].rpartition(b" ")[2].rstrip(b")"))
    return total


def _stored(bench: Bench, server: Postfix, connections: int, loops: int, script: str) -> Figure:
    before, spent = server.delivered(), server.cpu_seconds()
    begin = time.monotonic()
    loops = bench.load.run(server, "smtp", connections, loops, script, enough=ENOUGH).loops
    while server.delivered() < before + loops:
        time.sleep(0.02)
        if time.monotonic() - begin > 120:
            raise TimeoutError("mail is still in the queue")
    seconds = time.monotonic() - begin
    return Figure(loops / seconds, (server.cpu_seconds() - spent) * 1000 / loops)


ROWS = (
    Row("LMTP delivery, 4 KB, 16 connections", "lmtp", "/s", lambda b, s: deliver(b, s, "lmtp", 4096, 16, 6_000), 8),
    Row("LMTP delivery, 4 KB, 64 connections", "lmtp", "/s", lambda b, s: deliver(b, s, "lmtp", 4096, 64, 6_000), 8),
    Row(
        "SMTP accept to stored, 4 KB, 16 connections", "smtp", "/s",
        lambda b, s: deliver(b, s, "smtp", 4096, CONNECTIONS, 4_000), 15,
    ),
    Row("LMTP delivery, 100 KB, 16 connections", "lmtp", "/s", lambda b, s: deliver(b, s, "lmtp", 102_400, 16, 1_500), 3),
    Row(
        "SMTP accept to stored, 100 KB, 16 connections", "smtp", "/s",
        lambda b, s: deliver(b, s, "smtp", 102_400, CONNECTIONS, 1_000), 3,
    ),
)  # fmt: skip
