r"""An IMAP server for transcripts: one directory, a store of its own for each case, faults on demand.

The connection is over TLS unless the case needs ``clear``, ``clear-allowed`` or ``starttls`` (clear, with STARTTLS offered).
``one-connection`` lets a user have one only; ``limit-1000`` is an APPENDLIMIT of 1,000 octets (otherwise 100,000). Accounts as in
``pop3_scene``; the clock stands at 15-Nov-2023 12:00:00 +0100. ``given``:

    mail 3                    that many small messages in alice's INBOX
    mail 3 Sent               ... in another mailbox
    message text              one message in INBOX, with Python's escapes
    large 300000              one message of about so many octets
    mailbox Name              a mailbox of alice's
    quota 5000                octets

Directives: ``fail method...`` (Unavailable from then on), ``bug method``, ``mend``, ``damage 2`` (UID), ``cut-octets 70000``,
``slow-octets``, ``cut-log``, ``deliver`` (a message arrives), ``flag 2 \Flagged word`` and ``unflag`` (by UID, as another
client would), ``expunge 2`` (UID), ``drop Name``, ``rename A B``, ``left 2 INBOX`` (so many messages), ``flushed`` (the
session has waited for its peer),
``broken`` (what was said last has no end), ``spools finished aborted`` (how they ended).
"""

from __future__ import annotations

from typing import Any

from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import AccountId, MailboxId
from postroom.model.uidset import UidSet
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from postroom.session.imap.session import ImapServices, ImapSession, NoLimit
from postroom.session.transport import Session
from postroom.store.directory import Directory
from postroom.store.engines.memory import MemoryStore
from postroom.wire.events import Engine
from postroom.wire.imap.server import ImapServer
from tests.session.imap.stores import FaultyStore, put, small
from tests.support.identities import tls_for, tokens_for
from tests.support.inline import InlineExecutor
from tests.transcripts.harness import Case, FakeClock, FakeTransport
from tests.transcripts.pop3_scene import TLS

NOON = 1_700_046_000
"""15-Nov-2023 12:00:00 +0100"""


class OneConnection:
    """Fits ``session.imap.session.Connections``."""

    def __init__(self) -> None:
        self.inside: set[tuple[AccountId, str]] = set()

    def enter(self, account: AccountId, address: str) -> bool:
        if (account, address) in self.inside:
            return False
        self.inside.add((account, address))
        return True

    def leave(self, account: AccountId, address: str) -> None:
        self.inside.remove((account, address))


class ImapScene:
    """One server."""

    def __init__(self, case: Case, directory: Directory, clock: FakeClock) -> None:
        self._case = case
        account = directory.account("alice@example.org")
        bob = directory.account("bob@example.org")
        assert account is not None
        assert bob is not None
        self._alice, self._bob = account.id, bob.id
        self.store = FaultyStore(MemoryStore())
        self._clock = clock
        self.executor = InlineExecutor(clock)
        limits = AttemptLimits(exempt=("192.0.2.0/24",)) if "limits" not in case.needs else AttemptLimits()
        self._connections = OneConnection()
        self._services = ImapServices(
            store=self.store,
            authenticator=Authenticator(
                directory,
                self.executor,
                Attempts(limits),
                tokens=tokens_for(case.needs),
                cram_md5="cram-md5" in case.needs,
            ),
            clock=lambda: (NOON + int(clock.now) - 1_000, 60),
            message_limit=1_000 if "limit-1000" in case.needs else 100_000,
            connections=self._connections if "one-connection" in case.needs else NoLimit(),
        )

    async def prepare(self) -> None:
        """Put in place what is given."""
        store = self.store.inner
        await store.create_account(self._alice)
        await store.create_account(self._bob)
        for line in self._case.given:
            kind, _, rest = line.partition(" ")
            match kind, rest.split():
                case "mail", [count]:
                    await self._put("INBOX", *(small(n) for n in range(1, int(count) + 1)))
                case "mail", [count, mailbox]:
                    await self._put(mailbox, *(small(n) for n in range(1, int(count) + 1)))
                case "message", _:
                    await self._put("INBOX", rest.encode().decode("unicode_escape").encode("latin-1"))
                case "large", [size]:
                    text = b"x" * 76 + b"\r\n"
                    await self._put("INBOX", b"Subject: large\r\n\r\n" + text * (int(size) // len(text)))
                case "mailbox", _:
                    await store.create_mailbox(self._alice, rest)
                case "quota", [octets]:
                    await store.set_quota(self._alice, int(octets))
                case _:
                    raise ValueError(f"{self._case.path}: given: {line}")

    def open(self, transport: FakeTransport) -> tuple[Engine[Any], Session]:
        needs = self._case.needs
        in_clear = needs & {"clear", "clear-allowed", "starttls"}
        transport.tls = None if in_clear else tls_for(needs, TLS)
        transport.cleartext_auth_allowed = "clear-allowed" in needs
        engine = ImapServer(
            tls=not in_clear, starttls="starttls" in needs, append_limit=self._services.message_limit
        )
        return engine, ImapSession(transport, engine, self._services)

    async def directive(self, connection: FakeTransport, words: list[str]) -> None:  # noqa: C901 - a table
        faulty, store = self.store, self.store.inner
        match words:
            case ["fail", *methods]:
                faulty.failing.update(methods)
            case ["bug", method]:
                faulty.broken.add(method)
            case ["mend"]:
                faulty.failing.clear()
                faulty.damaged.clear()
            case ["damage", uid]:
                faulty.damaged.add(int(uid))
            case ["cut-octets", end]:
                faulty.octets_end = int(end)
            case ["slow-octets"]:
                faulty.slow_octets = True
            case ["cut-log"]:
                faulty.cut_log = True
            case ["deliver"]:
                await self._put("INBOX", b"Subject: late\r\n\r\nlate\r\n")
            case ["flag" | "unflag" as how, uid, *flags]:
                await self._flag(how == "flag", int(uid), flags)
            case ["expunge", uid]:
                await store.expunge(self._alice, self._inbox(), UidSet.of((int(uid),)), only_deleted=False)
            case ["drop", name]:
                await store.delete_mailbox(self._alice, name)
            case ["rename", name, to]:
                await store.rename_mailbox(self._alice, name, to)
            case ["left", count, name]:
                assert store.mailbox(self._alice, name).messages == int(count)
            case ["flushed"]:
                assert connection.flushes > 3
            case ["broken"]:
                assert connection.closed
                assert not connection.output.endswith(b"\r\n")
                connection.output.clear()
            case ["spools", *ended]:
                assert [spool.ended for spool in faulty.spools] == ended
            case ["slept", *seconds]:
                assert self.executor.slept == [float(each) for each in seconds]
            case _:
                raise ValueError(f"{self._case.path}: @ {words}")

    async def close(self) -> None:
        assert not self._connections.inside, "a connection is still counted"
        assert all(spool.ended for spool in self.store.spools), "a spool was left open"

    def _inbox(self) -> MailboxId:
        return self.store.inner.mailbox(self._alice, "INBOX").id

    async def _put(self, mailbox: str, *messages: bytes) -> None:
        await put(self.store.inner, self._alice, mailbox, *messages)

    async def _flag(self, add: bool, uid: int, flags: list[str]) -> None:
        bits = sum(SystemFlag[flag[1:].upper()] for flag in flags if flag.startswith("\\"))
        words = tuple(flag for flag in flags if not flag.startswith("\\"))
        change = FlagChange.ADD if add else FlagChange.REMOVE
        await self.store.inner.store_flags(self._alice, self._inbox(), UidSet.of((uid,)), change, bits, words)
