"""Kill -9 of the whole process tree at random moments, under concurrent writers, again and again.

Nothing acknowledged may be missing or doubled, nothing may be half there, UIDs rise, UIDVALIDITY stays, fsck is clean.
The number of kills is POSTROOM_TEST_KILLS (200 when not given); the seed POSTROOM_SEED is printed when something fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import imaplib
import os
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.crash.writers import TOKEN, Ledger, Refused, imap_writer, smtp_writer
from tests.support.live import DOMAIN, PASSWORD, LiveServer

KILLS: Final = int(os.environ.get("POSTROOM_TEST_KILLS", "200"))
PARTS: Final = 4
SEED: Final = int(os.environ.get("POSTROOM_SEED", "0")) or random.SystemRandom().getrandbits(32)
USERS: Final = ("anna", "bert")


@dataclass
class Seen:
    """What the last look found in one mailbox: UIDVALIDITY, and the token of each UID."""

    uid_validity: int = 0
    tokens: dict[int, str] = field(default_factory=dict)


@dataclass
class CrashRun:
    """A server, its ledger of messages for each mailbox, and what was seen there before."""

    server: LiveServer
    ledgers: dict[tuple[str, str], Ledger] = field(default_factory=dict)
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def ledger(self, user: str, mailbox: str) -> Ledger:
        return self.ledgers.setdefault((user, mailbox), Ledger())

    async def write_until_killed(self, after: float) -> None:
        """Run all writers side by side, kill the tree after ``after`` seconds, and let the writers notice."""
        smtp, lmtp, imap = (self.server.port(name) for name in ("smtp", "lmtp", "imap"))
        tasks = []
        for user in USERS:
            address = f"{user}@{DOMAIN}"
            inbox, archive = self.ledger(user, "INBOX"), self.ledger(user, "Archive")
            tasks += [
                asyncio.create_task(smtp_writer(smtp, address, inbox, lmtp=False)),
                asyncio.create_task(smtp_writer(lmtp, address, inbox, lmtp=True)),
                asyncio.create_task(smtp_writer(lmtp, address, inbox, lmtp=True)),
                asyncio.create_task(imap_writer(imap, address, PASSWORD, "Archive", archive)),
                asyncio.create_task(imap_writer(imap, address, PASSWORD, "INBOX", inbox)),
            ]
        await asyncio.sleep(after)
        await asyncio.to_thread(self.server.kill)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Refused):
                self.problems.append(f"refused: {result}")
            elif isinstance(result, BaseException) and not isinstance(result, OSError):
                raise result

    def look(self) -> None:
        """Compare every mailbox of the running server with its ledger."""
        for (user, mailbox), ledger in self.ledgers.items():
            present, uid_validity = _read_mailbox(self.server, f"{user}@{DOMAIN}", mailbox)
            where = f"{user}/{mailbox}"
            counted = Counter(token for token, _ in present.values())
            self.problems += [f"{where}: lost {token}" for token in ledger.acknowledged - counted.keys()]
            self.problems += [f"{where}: doubled {token}" for token, count in counted.items() if count > 1]
            for uid, (token, digest) in present.items():
                if ledger.sent.get(token) != digest:
                    self.problems.append(f"{where}: UID {uid} ({token}) is not what was sent")
            before = self.seen.get((user, mailbox), Seen())
            if before.uid_validity and before.uid_validity != uid_validity:
                self.problems.append(f"{where}: UIDVALIDITY {before.uid_validity} became {uid_validity}")
            highest = max(before.tokens, default=0)
            for uid, (token, _) in present.items():
                if before.tokens.get(uid, token) != token or (uid not in before.tokens and uid <= highest):
                    self.problems.append(f"{where}: UID {uid} was given again")
            self.problems += [f"{where}: UID {uid} has gone" for uid in before.tokens.keys() - present.keys()]
            tokens = {uid: token for uid, (token, _) in present.items()}
            self.seen[user, mailbox] = Seen(uid_validity, tokens)

    @property
    def acknowledged(self) -> int:
        return sum(len(ledger.acknowledged) for ledger in self.ledgers.values())


def _read_mailbox(server: LiveServer, user: str, mailbox: str) -> tuple[dict[int, tuple[str, str]], int]:
    client = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=120)
    try:
        client.login(user, PASSWORD)
        client.select(mailbox, readonly=True)
        validity = int(client.response("UIDVALIDITY")[1][0] or 0)
        _, answer = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
        found: dict[int, tuple[str, str]] = {}
        for item in answer:
            if isinstance(item, tuple):
                match = re.search(rb"UID (\d+)", item[0])
                assert match, item[0]
                octets: Any = item[1]
                found[int(match[1])] = _token_and_digest(octets)
        return found, validity
    finally:
        client.logout()


def _token_and_digest(octets: bytes) -> tuple[str, str]:
    start = octets.find(TOKEN)
    own = octets[start:]
    token = own[len(TOKEN) : own.find(b"\r\n")].decode(errors="replace")
    return token, hashlib.sha256(own).hexdigest()


def prepare(server: LiveServer) -> None:
    """A domain and two accounts."""
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    for user in USERS:
        server.run("account", "add", f"{user}@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")


@pytest.mark.crash
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path, part: int) -> None:
    chooser = random.Random(SEED + part)
    server = LiveServer(tmp_path, cleartext=True)
    prepare(server)
    run = CrashRun(server)
    kills = (KILLS + PARTS - 1 - part) // PARTS
    try:
        for kill in range(1, kills + 1):
            server.start()
            asyncio.run(run.write_until_killed(chooser.uniform(0.0, 0.3)))
            if kill % 15 == 0 or kill == kills:
                fsck = server.run("fsck", "--deep", check=False)
                if fsck.returncode:
                    run.problems.append(f"fsck: {fsck.stdout[-2000:]}{fsck.stderr[-2000:]}")
                server.start()
                run.look()
                server.kill()
            assert not run.problems, f"seed {SEED}, kill {kill}: {run.problems[:10]}"
    finally:
        server.kill()
    assert run.acknowledged > kills, "the writers got hardly anything done: the test would prove nothing"
    assert "Traceback" not in server.log_text()


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_reply_before_the_commit_is_caught(tmp_path: Path) -> None:
    """The planted mistake must show as lost mail, or the test above proves nothing."""
    server = LiveServer(tmp_path, cleartext=True)
    prepare(server)
    server.program = (sys.executable, str(Path(__file__).with_name("early_reply.py")))
    run = CrashRun(server)
    try:
        for _kill in range(60):
            server.start()
            asyncio.run(run.write_until_killed(random.uniform(0.1, 0.3)))
            server.start()
            run.look()
            server.kill()
            if any("lost" in problem for problem in run.problems):
                return
    finally:
        server.kill()
    pytest.fail(f"not caught in 60 kills: {run.problems[:5]}")
