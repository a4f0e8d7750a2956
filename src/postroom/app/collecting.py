"""Collecting as the configuration says: dials the other server, opens the ledger, runs the collector.

Invariants: one run at a time for each source, over all processes (a lock on a file): two could store a message twice. What was
stored before a session broke off is reported as well.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from postroom.app.access_tokens import access_token, forget_access_token, read_secret
from postroom.app.multidrop import EnvelopeFields
from postroom.collect.collector import Collector, HeaderFilter, Report, Wishes
from postroom.collect.imap import ImapMailbox
from postroom.collect.ledger import Ledger
from postroom.collect.pop3 import Pop3Mailbox
from postroom.collect.remote import Login, RemoteMailbox, RemoteRefused, Security
from postroom.config.paths import DataDir
from postroom.config.sources import Source, SourceProtocol, SourceTls
from postroom.model.account import Account
from postroom.model.errors import InUse, PostroomError, QuotaExceeded, Unavailable
from postroom.net.dial import dial
from postroom.net.tls import client_context
from postroom.store.api import MailStore
from postroom.store.directory import Directory
from postroom.wire.errors import ProtocolError
from postroom.wire.sasl.api import ClientMechanism

_PATIENCE = 120.0
"""Seconds a server may stay silent."""
_SECURITY = {
    SourceTls.NONE: Security.NONE,
    SourceTls.STARTTLS: Security.STARTTLS,
    SourceTls.IMPLICIT: Security.IMPLICIT,
}


Stay = Callable[[RemoteMailbox, Report], Awaitable[bool]]
"""Told what came of a run; waits in the open mailbox and says whether to collect again, in the same session."""


@dataclass(slots=True, frozen=True)
class Outcome:
    """What came of a source; ``error`` is empty, or why the session ended early."""

    report: Report
    error: str = ""


async def collect_source(
    data: DataDir,
    store: MailStore,
    source: Source,
    account: Account,
    *,
    dry_run: bool = False,
    directory: Directory | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    stay: Stay | None = None,
) -> Outcome:
    """One run; with ``stay`` one after the other in the same session, for as long as it says. The outcome is that of the last.
    ``directory`` says who is here, for sources with ``multidrop``.

    Raises InUse while another one is under way, OSError for what is wrong on this machine.
    """
    password = read_secret(source.password_file)
    with _alone(data, source), Ledger(data.journals / "collected.sqlite") as ledger:
        wishes = Wishes(
            mailbox=source.mailbox,
            delete_after=None if source.keep else source.delete_after,
            largest=source.largest,
            filters=tuple(_filter(each) for each in source.leave_out),
        )

        recipients = EnvelopeFields(directory, source.multidrop) if directory and source.multidrop else None

        def fresh() -> Collector:
            return Collector(
                source.name,
                account,
                store,
                ledger,
                wishes,
                clock=time.time,
                recipients=recipients,
                progress=progress,
            )

        collector = fresh()
        try:
            await collector.settle()
            ticket = await _ticket(source) if source.kerberos else None
            if source.oauth_token_url:
                password = await access_token(data, source, password, time.time())
            login = Login(
                source.user,
                password,
                source.password_in_clear,
                source.channel_binding,
                digest=source.digest,
                token=bool(source.oauth_token_url),
                ticket=ticket,
            )
            try:
                remote = await _open(source, login)
            except RemoteRefused:
                if login.token:
                    forget_access_token(data, source)
                raise
            try:
                await collector.collect(remote, dry_run=dry_run)
                while stay is not None and await stay(remote, collector.report):
                    collector = fresh()
                    await collector.collect(remote, dry_run=dry_run)
            except BaseException:
                await remote.abandon()
                raise
            await remote.close()
        except (Unavailable, RemoteRefused, QuotaExceeded, ProtocolError) as error:
            why = (error.private or error.public) if isinstance(error, PostroomError) else str(error)
            return Outcome(collector.report, why)
        return Outcome(collector.report)


async def _ticket(source: Source) -> ClientMechanism:
    from postroom.app.kerberos import ticket_for  # an extra

    service = "imap" if source.protocol is SourceProtocol.IMAP else "pop"
    return await asyncio.to_thread(ticket_for, service, source.host, source.user)


async def _open(source: Source, login: Login) -> RemoteMailbox:
    context = client_context(source.certificate_authorities, exports=source.channel_binding)
    security = _SECURITY[source.tls]
    implicit = context if security is Security.IMPLICIT else None
    connection = await dial(source.host, source.standard_port, tls=implicit, patience=_PATIENCE)
    if source.protocol is SourceProtocol.IMAP:
        return await ImapMailbox.open(connection, login, security, context, source.folder)
    return await Pop3Mailbox.open(connection, login, security, context)


def _filter(text: str) -> HeaderFilter:
    name, _, value = text.partition(":")
    return HeaderFilter(name.strip(), value.strip())


@contextmanager
def _alone(data: DataDir, source: Source) -> Iterator[None]:
    name = hashlib.sha256(source.name.encode()).hexdigest()[:24]
    lock = os.open(data.journals / f"collect-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"{source.name} is being collected already") from None
        yield
    finally:
        os.close(lock)
