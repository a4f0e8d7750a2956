"""A POP3 server for transcripts: one directory, a store of its own for each case, faults on demand.

The connection is over TLS unless the case needs ``clear`` or ``clear-allowed``. Accounts: alice@example.org and
bob@example.org with the password "correct horse battery", carol@example.org with the same but disabled, and
émile@example.org with "pässwört mit raum"; alice and carol have the secret "a secret of its own". ``needs: apop`` gives
the greeting of connection n the timestamp <(1895+n).697170952@dbc.mtview.ca.us>, ``lost-key`` makes secrets unreadable.
``given``:

    to bob@example.com anna@example.net   one small message with that envelope (``<>`` for the null sender), before all others
    mail 3              that many small messages for alice
    message text        one message, with Python's escapes
    large 300000        one message of about so many octets, lines beginning with dots among them
    header 2000000      one message with a header of about so many octets, UTF-8 in it
    terms 60 30         LOGIN-DELAY in seconds and EXPIRE in days (``never``) for everybody
    terms-of alice@example.org 10 0   the same for one account

alice is the catch-all of example.net. ``needs: legacy`` and ``needs: sdps`` are the listener's profiles; with ``submission``
there is somebody to take mail to send.

Directives: ``fail expunge|lock|read|snapshot`` (Unavailable from then on), ``mend``, ``corrupt 70000`` (octets end there),
``expunge 2`` (as IMAP would), ``deliver`` (a message arrives), ``bug`` (the next store access is broken), ``lock``
(somebody holds alice's maildrop), ``left 2`` (so many messages are in alice's INBOX), ``locked``, ``unlocked``,
``free``, ``broken`` (what was said last has no end), ``slept 2.0`` (the tarpit's delays so far).
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, cast

from postroom.model.ids import AccountId
from postroom.model.uidset import UidSet
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from postroom.session.pop3 import Pop3Session
from postroom.session.pop3.apop import Timestamps, no_timestamps
from postroom.session.pop3.policy import LoginsHere, Policy, Rules, Terms
from postroom.session.smtp import SmtpService
from postroom.session.transport import Session, TlsInfo
from postroom.store.api import MailStore
from postroom.store.directory import Directory, NewAccount, PasswordScheme
from postroom.wire.events import Engine
from postroom.wire.pop3.server import Pop3Server
from postroom.wire.pop3.spec import Profile
from tests.session.pop3.stores import FaultyStore, fill, fresh_store
from tests.support.identities import tls_for, tokens_for
from tests.support.inline import InlineExecutor
from tests.transcripts.harness import Case, FakeClock, FakeTransport

PASSWORD = "correct horse battery"
SECRET = "a secret of its own"
CHEAP = PasswordScheme(time_cost=1, memory=8, parallelism=1, scram_iterations=4096)
TLS = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")


def make_directory(path: Path) -> Directory:
    """The accounts named above."""
    directory = Directory(path, CHEAP)
    directory.add_domain("example.org")
    directory.add_domain("example.net")
    directory.import_accounts(
        [
            NewAccount("alice@example.org", PASSWORD),
            NewAccount("bob@example.org", PASSWORD),
            NewAccount("carol@example.org", PASSWORD, enabled=False),
            NewAccount("émile@example.org", "pässwört mit raum"),
        ]
    )
    for name in ("alice@example.org", "carol@example.org"):
        directory.set_shared_secret(name, SECRET)
    directory.set_catch_all("example.net", "alice@example.org")
    return directory


def given_envelopes(case: Case) -> list[tuple[str | None, str | None]]:
    """Senders and recipients of the first messages."""
    words = [line.split() for line in case.given]
    return [(each[1].strip("<>"), each[2]) for each in words if each[0] == "to"]


def given_messages(case: Case) -> list[bytes]:
    """What alice finds."""
    messages = [
        f"Subject: for {recipient}\r\n\r\nHello\r\n".encode() for _, recipient in given_envelopes(case)
    ]
    for line in case.given:
        kind, _, rest = line.partition(" ")
        match kind:
            case "mail":
                messages += [
                    f"From: bob@example.org\r\nSubject: number {n}\r\n\r\nHello {n}\r\n".encode()
                    for n in range(1, int(rest) + 1)
                ]
            case "message":
                messages.append(rest.encode().decode("unicode_escape").encode("latin-1"))
            case "large":
                line_ = b".dot\r\n..two\r\n" + b"x" * 76 + b"\r\n"
                messages.append(b"Subject: large\r\n\r\n" + line_ * (int(rest) // len(line_)))
            case "header":
                messages.append("Subject: é".encode() + b"\r\n x" * (int(rest) // 4) + b"\r\n\r\nx\r\n")
            case "terms" | "terms-of" | "to":
                pass
            case _:
                raise ValueError(f"{case.path}: given: {line}")
    return messages


def given_policy(case: Case) -> Policy:
    """What maildrops are granted."""
    everybody, accounts = Terms(), {}
    for line in case.given:
        words = line.split()
        if words[0] in ("terms", "terms-of"):
            delay, stay = words[-2:]
            terms = Terms(int(delay), None if stay == "never" else int(stay))
            if words[0] == "terms":
                everybody = terms
            else:
                accounts[words[1]] = terms
    return Policy(everybody, accounts)


def timestamps_for(needs: frozenset[str]) -> Timestamps:
    """That of RFC 1939 §7 for the first connection, others for the next."""
    if "apop" not in needs:
        return no_timestamps
    numbers = count(1896)
    return lambda _transport: f"<{next(numbers)}.697170952@dbc.mtview.ca.us>"


class Pop3Scene:
    """One server."""

    def __init__(self, case: Case, directory: Directory, clock: FakeClock) -> None:
        self._case = case
        account = directory.account("alice@example.org")
        assert account is not None
        self._alice: AccountId = account.id
        self.store: FaultyStore | None = None
        self._clock = clock
        self._directory = directory
        self.executor = InlineExecutor(clock)
        self._keyless: Directory | None = None
        if "lost-key" in case.needs:
            path = directory._path
            self._keyless = directory = Directory(path, CHEAP, secrets_key=path.with_name("nothing"))
        limits = AttemptLimits(exempt=("192.0.2.0/24",)) if "limits" not in case.needs else AttemptLimits()
        self._authenticator = Authenticator(
            directory,
            self.executor,
            Attempts(limits),
            tokens=tokens_for(case.needs),
            cram_md5="cram-md5" in case.needs,
        )
        self._timestamps = timestamps_for(case.needs)
        self._lease: Any = None
        self._rules = Rules(given_policy(case), LoginsHere(), clock)

    async def prepare(self) -> None:
        """Deliver what is given."""
        self.store = FaultyStore(fresh_store())
        await fill(self.store, self._alice, given_messages(self._case), given_envelopes(self._case))

    def open(self, transport: FakeTransport) -> tuple[Engine[Any], Session]:
        assert self.store is not None
        needs = self._case.needs
        transport.tls = None if needs & {"clear", "clear-allowed"} else tls_for(needs, TLS)
        transport.cleartext_auth_allowed = "clear-allowed" in needs
        engine = Pop3Server()
        session = Pop3Session(
            transport,
            engine,
            self.store,
            self._authenticator,
            stls="no-certificate" not in needs,
            rules=self._rules,
            profiles=frozenset(each for each in Profile if each in needs),
            hosts=self._directory,
            timestamps=self._timestamps,
            submission=self._submission() if "submission" in needs else None,
        )
        return engine, session

    def _submission(self) -> SmtpService:
        return SmtpService(
            hostname="mx.example.org",
            store=cast("MailStore", self.store),
            directory=self._directory,
            clock=self._clock,
            authenticator=self._authenticator,
        )

    async def directive(self, connection: FakeTransport, words: list[str]) -> None:
        store = self.store
        assert store is not None
        match words:
            case ["fail", what]:
                store.failing.add(what)
            case ["mend"]:
                store.failing.clear()
            case ["corrupt", offset]:
                store.octets_end = int(offset)
            case ["bug"]:
                store.failing.add("bug")
            case ["expunge", number]:
                inbox = store.mailbox(self._alice, "INBOX")
                uid = store.uids(self._alice, inbox.id)[int(number) - 1]
                await store.expunge(self._alice, inbox.id, UidSet.of((uid,)), only_deleted=False)
            case ["deliver"]:
                await fill(store, self._alice, [b"Subject: late\r\n\r\nlate\r\n"])
            case ["lock"]:
                self._lease = await store.lock_maildrop(self._alice)
            case ["free"]:
                await self._lease.release()
            case ["locked"]:
                assert store.leases == {self._alice}
            case ["unlocked"]:
                assert not store.leases
            case ["left", count]:
                inbox = store.mailbox(self._alice, "INBOX")
                assert len(store.uids(self._alice, inbox.id)) == int(count)
            case ["broken"]:
                assert b"\r\n.\r\n" not in connection.output
                connection.output.clear()
            case ["slept", *seconds]:
                assert self.executor.slept == [float(each) for each in seconds]
            case _:
                raise ValueError(f"{self._case.path}: @ {words}")

    async def close(self) -> None:
        if self._keyless is not None:
            self._keyless.close()
        if self.store is not None:
            assert not self.store.leases or self._lease is not None, "a maildrop is still locked"
            await self.store.close()
