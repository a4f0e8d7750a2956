"""Every protocol of a worker: engines, sessions and what they share.

Invariants: one factory per protocol; the limits of the configuration reach the engines here and nowhere else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from postroom.app.bans import REFUSALS as BAN_REFUSALS
from postroom.app.bans import DirectoryBans
from postroom.app.executors import BoundedExecutor
from postroom.app.outgoing import Outgoing, smarthost_of
from postroom.app.pop3 import host_of, profiles_of, rules_of, timestamps_of
from postroom.app.provision import Provisioner
from postroom.config.passwords import Auth
from postroom.config.settings import Listener, ListenerProtocol, Settings, TlsMode
from postroom.model.ids import AccountId
from postroom.net.driver import Connection, DriverSettings, SessionMaker
from postroom.net.limits import ConnectionCounter, ConnectionLimits
from postroom.net.listeners import Meter, Service, ServiceSettings
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import AttemptRecord, Authenticator
from postroom.session.bearer import TokenVerifier
from postroom.session.external import CertificateName
from postroom.session.imap.session import ImapServices, ImapSession
from postroom.session.inbound import InboundSession
from postroom.session.kerberos import TicketVerifier
from postroom.session.kpop import KpopSession
from postroom.session.lmtp import LmtpSession
from postroom.session.pop2 import Pop2Session
from postroom.session.pop3 import Pop3Session
from postroom.session.pop3.apop import Timestamps, no_timestamps
from postroom.session.smtp import SmtpService, SmtpSession, TransactionRecord
from postroom.session.submission import SubmissionSession
from postroom.session.transport import Session
from postroom.store.api import MailStore
from postroom.store.directory import Directory
from postroom.wire.events import Engine
from postroom.wire.imap.server import ImapServer
from postroom.wire.kpop.server import KpopServer
from postroom.wire.pop2.server import Limits as Pop2Limits
from postroom.wire.pop2.server import Pop2Server
from postroom.wire.pop3.server import Limits as Pop3Limits
from postroom.wire.pop3.server import Pop3Server
from postroom.wire.pop3.spec import Profile
from postroom.wire.smtp.events import Limits as SmtpLimits

_log = structlog.get_logger("postroom.session")

_REFUSALS: Final = {
    ListenerProtocol.SMTP: b"421 4.7.0 Too many connections, try again later\r\n",
    ListenerProtocol.SUBMISSION: b"421 4.7.0 Too many connections, try again later\r\n",
    ListenerProtocol.LMTP: b"421 4.7.0 Too many connections, try again later\r\n",
    ListenerProtocol.POP3: b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
    ListenerProtocol.POP2: b"- Too many connections, try again later\r\n",
    ListenerProtocol.KPOP: b"",  # there is no word for it before the ticket
    ListenerProtocol.IMAP: b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
}
_ALPN: Final = {
    ListenerProtocol.SMTP: "smtp",
    ListenerProtocol.SUBMISSION: "smtp",
    ListenerProtocol.LMTP: "lmtp",
    ListenerProtocol.POP3: "pop3",
    ListenerProtocol.POP2: "pop2",
    ListenerProtocol.KPOP: "pop3",
    ListenerProtocol.IMAP: "imap",
}


class UserConnections:
    """IMAP connections of a user from an address. Implements ``session.imap.session.Connections``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[tuple[AccountId, str]] = Counter()

    def enter(self, account: AccountId, address: str) -> bool:
        """Count one more, or refuse."""
        if self._open[account, address] >= self._most:
            return False
        self._open[account, address] += 1
        return True

    def leave(self, account: AccountId, address: str) -> None:
        """Give back what ``enter`` counted."""
        self._open[account, address] -= 1
        if not self._open[account, address]:
            del self._open[account, address]


class Contexts(Protocol):
    """Where TLS contexts come from (``app.certificates.Certificates``)."""

    def context(self, alpn: str, authorities: Path | None = None) -> ssl.SSLContext:
        """The server's context for one protocol, by its ALPN name; with ``authorities`` it asks for clients' certificates."""


SessionWrapper = Callable[[Engine[Any], Session], Session]
"""Puts something between the driver and each session; ``testing`` injects faults there."""


class Services:
    """What a worker serves, and what all its sessions share."""

    def __init__(
        self,
        settings: Settings,
        store: MailStore,
        directory: Directory,
        *,
        certificates: Contexts,
        metrics: Meter,
        loop: asyncio.AbstractEventLoop,
        workers: int,
        wrap: SessionWrapper | None = None,
    ) -> None:
        self._settings = settings
        self._wrap = wrap
        self._store = store
        self._directory = directory
        self._certificates = certificates
        self._metrics = metrics
        self._loop = loop
        self._services: list[Service] = []
        limits = settings.limits
        self._counter = ConnectionCounter(
            ConnectionLimits(limits.connections_per_ip, 3 * limits.connections_per_ip, _most_connections())
        )
        slots = settings.auth.slots or os.cpu_count() or 1
        self._hashing = BoundedExecutor(loop, max(1, slots // workers), settings.auth.waiters, "hash")
        self._bans = DirectoryBans(directory, self._hashing, settings.auth)
        self._tickets = _ticket_verifier(settings, self.hostname)
        self._authenticator = Authenticator(
            directory,
            self._hashing,
            Attempts(_attempt_limits(settings.auth)),
            _log_attempt,
            float(settings.auth.cache_seconds),
            tokens=_token_verifier(settings),
            tickets=self._tickets,
            certificate_names=tuple(map(CertificateName, settings.authentication.certificate_names)),
            channel_binding=settings.authentication.channel_binding,
            cram_md5=settings.auth.cram_md5,
            bans=self._bans,
            wall_clock=time.time,
            without=() if settings.auth.scram_sha1 else ("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"),
        )
        self.provisioner = Provisioner(directory, store)
        self.outgoing = Outgoing(settings, store, directory, self.hostname)
        self._pop3_rules = rules_of(settings)
        self._smtp = self._smtp_service()
        self._imap = ImapServices(
            store,
            self._authenticator,
            _wall_clock,
            limits.message_size,
            self.provisioner.welcome,
            UserConnections(limits.imap_connections_per_user),
        )

    @property
    def hostname(self) -> str:
        """The name this server greets with."""
        return self._settings.hostname or socket.getfqdn()

    @property
    def connections(self) -> int:
        """Open connections of all services."""
        return sum(len(service.connections) for service in self._services)

    async def listen(self, listener: Listener, bound: socket.socket) -> Service:
        """Serve a listener on its socket."""
        networks = tuple(ipaddress.ip_network(text) for text in listener.cleartext_auth_cidrs)
        protocol = listener.protocol
        limits = self._settings.limits
        authorities = listener.client_authorities
        if authorities is not None:
            self._certificates.context(
                _ALPN[protocol], authorities
            )  # a file that does not load is found out now
        service = Service(
            ServiceSettings(str(protocol), str(listener.tls), _ALPN[protocol], _REFUSALS[protocol], networks),
            self._wrapped(self._maker(listener)),
            loop=self._loop,
            counter=self._counter,
            meter=self._metrics,
            contexts=partial(self._certificates.context, authorities=authorities),
            driver=DriverSettings(float(limits.tls_handshake), float(limits.write)),
            banned=self._bans.banned if protocol in BAN_REFUSALS else None,
            ban_refusal=BAN_REFUSALS.get(protocol, b""),
        )
        await service.listen([bound])
        self._services.append(service)
        return service

    def tick(self, now: float) -> None:
        """Once a second."""
        for service in self._services:
            service.tick(now)

    def stop_listening(self) -> None:
        """Accept no more."""
        for service in self._services:
            service.stop_listening()

    def shut_down(self) -> None:
        """Ask every session to take leave."""
        for service in self._services:
            service.shut_down()

    def abort(self) -> None:
        """Drop what is left."""
        for service in self._services:
            service.abort()

    async def close(self, *, wait: bool = False) -> None:
        """Release what is shared; connections have ended. With ``wait`` no thread is left behind."""
        await self.outgoing.close()
        self._hashing.close(wait=wait)

    def _smtp_service(self) -> SmtpService:
        settings, limits = self._settings, self._settings.limits
        return SmtpService(
            hostname=self.hostname,
            store=self._store,
            directory=self._directory,
            clock=time.time,
            authenticator=self._authenticator,
            message_size=limits.message_size,
            hop_limit=settings.delivery.hop_limit,
            has_route=smarthost_of(settings) is not None,
            retry_after=settings.queue.retry_schedule[0],
            limits=SmtpLimits(
                line=limits.smtp_line,
                auth_line=limits.auth_line,
                recipients=limits.recipients_unauthenticated,
                recipients_authenticated=limits.recipients_authenticated,
                errors=limits.errors_before_close,
                errors_before_auth=limits.errors_before_auth,
                command_time=float(limits.smtp_idle),
                before_auth_time=float(limits.before_auth),
                data_rate=limits.data_minimum_rate,
            ),
            record=_log_transaction,
            queue_changed=self.outgoing.wake,
            host_of=host_of(settings, self._directory),
        )

    def _smtp_maker(self, kind: type[SmtpSession], *, starttls: bool) -> SessionMaker:
        service = replace(self._smtp, starttls=starttls)

        def make(connection: Connection) -> tuple[Engine[Any], Session]:
            session = kind(service, connection)
            return session.engine, session

        return make

    def _make_pop3(
        self,
        connection: Connection,
        starttls: bool,
        profiles: frozenset[Profile] = frozenset(),
        timestamps: Timestamps = no_timestamps,
    ) -> tuple[Pop3Server, Pop3Session]:
        limits = self._settings.limits
        engine = Pop3Server(
            limits=Pop3Limits(
                line=limits.pop3_line,
                auth_line=limits.auth_line,
                errors=limits.errors_before_close,
                unknown_before_login=limits.errors_before_auth,
                login_time=float(limits.before_auth),
                idle_time=float(limits.pop3_idle),
            )
        )
        return engine, Pop3Session(
            connection,
            engine,
            self._store,
            self._authenticator,
            stls=starttls,
            rules=self._pop3_rules,
            profiles=profiles,
            timestamps=timestamps,
            hosts=self._directory,
            submission=self._smtp,
        )

    def _make_kpop(self, connection: Connection) -> tuple[Engine[Any], Session]:
        assert self._tickets is not None
        pop3, session = self._make_pop3(connection, starttls=False)
        engine = KpopServer(pop3)
        return engine, KpopSession(connection, engine, session, self._authenticator, self._tickets)

    def _make_pop2(self, connection: Connection) -> tuple[Engine[Any], Session]:
        limits = self._settings.limits
        engine = Pop2Server(Pop2Limits(float(limits.before_auth), float(limits.pop3_idle)))
        return engine, Pop2Session(connection, engine, self._store, self._authenticator, host=self.hostname)

    def _make_imap(self, connection: Connection, starttls: bool) -> tuple[Engine[Any], Session]:
        engine = ImapServer(
            starttls=starttls,
            append_limit=self._imap.message_limit,
            login_time=float(self._settings.limits.before_auth),
            idle_time=float(self._settings.limits.imap_idle),
            errors_before_login=self._settings.limits.errors_before_auth,
            errors=self._settings.limits.errors_before_close,
        )
        return engine, ImapSession(connection, engine, self._imap)

    def _wrapped(self, make: SessionMaker) -> SessionMaker:
        wrap = self._wrap
        if wrap is None:
            return make

        def make_wrapped(connection: Connection) -> tuple[Engine[Any], Session]:
            engine, session = make(connection)
            return engine, wrap(engine, session)

        return make_wrapped

    def _maker(self, listener: Listener) -> SessionMaker:
        """What makes the sessions of a listener; STARTTLS is announced only where the listener has it."""
        upgrade = listener.tls is TlsMode.STARTTLS
        match listener.protocol:
            case ListenerProtocol.SMTP:
                return self._smtp_maker(InboundSession, starttls=upgrade)
            case ListenerProtocol.SUBMISSION:
                return self._smtp_maker(SubmissionSession, starttls=upgrade)
            case ListenerProtocol.LMTP:
                return self._smtp_maker(LmtpSession, starttls=upgrade)
            case ListenerProtocol.POP3:
                profiles = profiles_of(listener)
                timestamps = timestamps_of(listener)
                return lambda connection: self._make_pop3(connection, upgrade, profiles, timestamps)
            case ListenerProtocol.POP2:
                return self._make_pop2
            case ListenerProtocol.KPOP:
                return self._make_kpop
            case ListenerProtocol.IMAP:
                return lambda connection: self._make_imap(connection, upgrade)


def _most_connections() -> int:
    """Nine tenths of the descriptors this process may have (threats D9)."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, soft * 9 // 10 - 64)


def _token_verifier(settings: Settings) -> TokenVerifier | None:
    if not settings.authentication.oauth.enabled:
        return None
    from postroom.app.bearer import Tokens  # most servers need none of its libraries

    return Tokens(settings.authentication.oauth, time.time)


def _ticket_verifier(settings: Settings, hostname: str) -> TicketVerifier | None:
    kerberos = settings.authentication.kerberos
    if kerberos.keytab is None:
        return None
    from postroom.app.kerberos import Tickets  # an extra: most servers have none of its libraries

    return Tickets(kerberos, hostname, time.time)


def _attempt_limits(auth: Auth) -> AttemptLimits:
    minute, day = auth.failures_per_ip_minute, auth.failures_per_ip_day
    return AttemptLimits(
        address=((60.0, minute), (86_400.0, day)),
        network=((60.0, 3 * minute), (86_400.0, 3 * day)),
        user=((3_600.0, auth.failures_per_user_hour),),
        flood=(86_400.0, auth.ban_failures) if auth.ban_failures else None,
        shortest_delay=float(auth.delay_minimum),
        longest_delay=float(auth.delay_maximum),
    )


def _wall_clock() -> tuple[int, int]:
    now = datetime.now().astimezone()
    offset = now.utcoffset()
    return int(now.timestamp()), int(offset.total_seconds()) // 60 if offset else 0


def _log_attempt(record: AttemptRecord) -> None:
    say = _log.info if record.outcome == "ok" else _log.warning
    say(
        "login",
        session=record.session_id,
        peer=record.address,
        mechanism=record.mechanism,
        user=record.login,
        outcome=record.outcome,
    )


def _log_transaction(record: TransactionRecord) -> None:
    _log.info(
        "message",
        session=record.session_id,
        id=record.id,
        peer=record.peer,
        sender=record.sender,
        recipients=len(record.recipients),
        size=record.size,
        outcome=record.outcome,
    )
