"""SMTP, submission and LMTP servers for transcripts: one directory, a store of its own for each case, faults on demand.

``profile:`` is smtp, submission or lmtp (by default what the folder says). The connection is in clear unless the case
``needs: tls``; ``clear-allowed`` permits authentication in clear, ``no-certificate`` takes STARTTLS away, ``route``
configures a smarthost. Accounts: alice@example.org, bob@example.org, carol@example.org (disabled), all with the password
"correct horse battery"; aliases both@example.org (alice and bob), list@example.org (alice and far@example.net),
gone@example.org (carol), away@example.org (far@example.net); postmaster@example.org leads to bob. ``given``:

    quota alice 2000            octets
    limits errors=3 size=1000   of the engine and the service

Directives: ``fail full|finish|spool|deliver|queue|bug``, ``mend``, ``stored alice 1`` (so many messages), ``queued 2``
(recipients), ``content alice text`` (the newest message behind its trace fields, Python's escapes), ``trace alice regex``
(found in the trace fields), ``header alice regex`` (anywhere), ``late-quota alice`` (full only when it is too late).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from postroom.model.account import Account
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from postroom.session.inbound import InboundSession
from postroom.session.lmtp import LmtpSession
from postroom.session.smtp import SmtpService, SmtpSession
from postroom.session.submission import SubmissionSession
from postroom.session.transport import Session, TlsInfo
from postroom.store.directory import Directory, NewAccount, PasswordScheme
from postroom.wire.events import Engine
from postroom.wire.smtp.events import Limits
from tests.session.smtp.stores import FaultyStore, as_store
from tests.support.identities import tls_for, tokens_for
from tests.support.inline import InlineExecutor
from tests.transcripts.harness import Case, FakeClock, FakeTransport

PASSWORD = "correct horse battery"
CHEAP = PasswordScheme(time_cost=1, memory=8, parallelism=1, scram_iterations=4096)
TLS = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")
SESSIONS: dict[str, type[SmtpSession]] = {
    "smtp": InboundSession,
    "submission": SubmissionSession,
    "lmtp": LmtpSession,
}
EPOCH = 1_700_000_000


def make_directory(path: Path) -> Directory:
    """The accounts and aliases named above."""
    directory = Directory(path, CHEAP)
    directory.add_domain("example.org")
    directory.import_accounts(
        [
            NewAccount("alice@example.org", PASSWORD),
            NewAccount("bob@example.org", PASSWORD),
            NewAccount("carol@example.org", PASSWORD, enabled=False),
        ]
    )
    directory.add_alias("both@example.org", ["alice@example.org", "bob@example.org"])
    directory.add_alias("list@example.org", ["alice@example.org", "far@example.net"])
    directory.add_alias("gone@example.org", ["carol@example.org"])
    directory.add_alias("away@example.org", ["far@example.net"])
    directory.add_alias("postmaster@example.org", ["bob@example.org"])
    return directory


def behind_trace(octets: bytes) -> tuple[bytes, bytes]:
    """The trace fields we put in front, and what follows."""
    found = re.match(rb"Return-Path: <[^\r\n]*>\r\nReceived: [^\r\n]*\r\n(?:\t[^\r\n]*\r\n)*", octets)
    assert found is not None, octets[:300]
    return found.group(), octets[found.end() :]


class SmtpScene:
    """One server."""

    def __init__(self, case: Case, directory: Directory, clock: FakeClock) -> None:
        self._case = case
        self._directory = directory
        self._clock = clock
        self.store = FaultyStore()
        self._quotas: dict[str, int] = {}
        self.executor = InlineExecutor(clock)
        profile = case.header.get("profile", [case.path.parent.name])[0]
        self._session = SESSIONS[profile]
        authenticator = Authenticator(
            directory,
            self.executor,
            Attempts(AttemptLimits(exempt=("192.0.2.0/24",))),
            tokens=tokens_for(case.needs),
            cram_md5="cram-md5" in case.needs,
        )
        settings: dict[str, Any] = {}
        limits: dict[str, Any] = {}
        for line in case.given:
            match line.split():
                case ["quota", name, octets]:
                    self._quotas[name] = int(octets)
                case ["limits", *pairs]:
                    for pair in pairs:
                        key, _, value = pair.partition("=")
                        if key == "size":
                            settings["message_size"] = int(value)
                        elif key == "hops":
                            settings["hop_limit"] = int(value)
                        else:
                            limits[key] = int(value)
                case _:
                    raise ValueError(f"{case.path}: given: {line}")
        self.service = SmtpService(
            hostname="mx.example.org",
            store=as_store(self.store),
            directory=directory,
            clock=lambda: EPOCH + clock.now,
            authenticator=authenticator,
            starttls="no-certificate" not in case.needs,
            has_route="route" in case.needs,
            limits=dataclasses.replace(Limits(), **limits),
            **settings,
        )

    async def prepare(self) -> None:
        """Make the accounts' rows."""
        for account in self._directory.accounts():
            await self.store.create_account(account.id, self._quotas.get(account.name.partition("@")[0], 0))

    def _account(self, name: str) -> Account:
        account = self._directory.account(f"{name}@example.org")
        assert account is not None
        return account

    def open(self, transport: FakeTransport) -> tuple[Engine[Any], Session]:
        transport.tls = tls_for(self._case.needs, TLS) if "tls" in self._case.needs else None
        transport.cleartext_auth_allowed = "clear-allowed" in self._case.needs
        session = self._session(self.service, transport)
        return session.engine, session

    async def directive(self, connection: FakeTransport, words: list[str]) -> None:
        store = self.store
        match words:
            case ["fail", what]:
                store.failing.add(what)
            case ["mend"]:
                store.failing.clear()
            case ["late-quota", name]:
                store.full_late.add(self._account(name).id)
            case ["stored", name, count]:
                assert len(store.octets(self._account(name).id)) == int(count)
            case ["queued", *addresses]:
                found = [each.address for message in store.queue.values() for each in message.recipients]
                assert found == addresses
            case ["content", name, *text]:
                wanted = " ".join(text).encode().decode("unicode_escape").encode("latin-1")
                assert behind_trace(store.octets(self._account(name).id)[-1])[1] == wanted
            case ["trace", name, *pattern]:
                trace = behind_trace(store.octets(self._account(name).id)[-1])[0]
                assert re.search(" ".join(pattern), trace.decode()), trace
            case ["header", name, *pattern]:
                octets = store.octets(self._account(name).id)[-1]
                assert re.search(" ".join(pattern), octets.decode("utf-8", "replace")), octets
            case ["bug-seen"]:
                assert connection.bugs
                connection.bugs.clear()
            case _:
                raise ValueError(f"{self._case.path}: @ {words}")

    async def close(self) -> None:
        await self.store.close()
