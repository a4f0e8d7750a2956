"""A POP3 session: a maildrop is a snapshot of INBOX, under an exclusive lock (RFC 1939).

Invariants:
- The snapshot is of the moment of the login and never renumbered; what IMAP expunges meanwhile answers -ERR.
- The lock is given back in every case: before the reply to QUIT, or when the connection is gone.

It must not know: what each command does, how messages are stored, sockets, TLS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from postroom.model.account import Account
from postroom.model.errors import AuthenticationFailed, NoSuchMailbox, PostroomError, Unavailable
from postroom.model.mailbox import INBOX
from postroom.model.message import Octets
from postroom.session.authentication import Authenticator
from postroom.session.maildrop import Maildrop
from postroom.session.pop3.apop import Timestamps, no_timestamps
from postroom.session.pop3.basics import summary
from postroom.session.pop3.errors import code_of
from postroom.session.pop3.policy import Rules, Terms
from postroom.session.pop3.sdps import Hosts, Names, Selection
from postroom.session.pop3.surrogates import Surrogates
from postroom.session.pop3.table import HANDLERS
from postroom.session.pop3.xmit import Submission
from postroom.session.transport import Transport
from postroom.store.api import Lease, MailStore
from postroom.wire.pop3.catalogue import Phrase
from postroom.wire.pop3.replies import Err, LoggedIn, ResponseCode
from postroom.wire.pop3.server import Event, Pop3Server
from postroom.wire.pop3.spec import Offers, Profile

Handler = Callable[["Pop3Session", Any], Awaitable[None]]
Handlers = dict[type[Any], Handler]

_FAILED_LOGINS: Final = 3
_MESSAGE_LIMIT: Final = 50_000_000
"""Octets of a message that STOR takes where nothing else is said."""
"""After this many the connection ends."""


class Pop3Session:
    """One connection's session; see ``session.transport.Session`` for the verbs."""

    def __init__(
        self,
        transport: Transport,
        engine: Pop3Server,
        store: MailStore,
        authenticator: Authenticator,
        *,
        stls: bool = True,
        rules: Rules | None = None,
        profiles: frozenset[Profile] = frozenset(),
        timestamps: Timestamps = no_timestamps,
        hosts: Hosts | None = None,
        submission: Submission | None = None,
    ) -> None:
        """``stls``: whether the listener has a certificate for STLS; ``rules``: none unless given;
        ``profiles``: commands beyond those of today; ``timestamps``: for greetings, so that APOP can be used; ``hosts``: where
        SDPS finds domains' accounts; ``submission``: what takes mail to send."""
        self.transport = transport
        self.engine = engine
        self.store = store
        self.authenticator = authenticator
        self._rules = rules or Rules()
        self._profiles = profiles
        self._timestamps = timestamps
        self.timestamp = ""
        """Of the greeting, as long as APOP may use it."""
        self.hosts = hosts if Profile.SDPS in profiles else None
        """Set where logins may name a domain."""
        self.submission = submission
        self.last = 0
        """The highest message that was accessed."""
        self.user: str | None = None
        """What USER has named."""
        self.terms: Terms | None = None
        """The user's, after the login."""
        self.utf8 = False
        """UTF8 was asked for."""
        self.surrogates: Surrogates | None = None
        """After a login without UTF8."""
        self.language = self._rules.language
        """What LANG * means."""
        self.retrieved: set[int] = set()
        """Messages that RETR has sent to their end."""
        self._stls = stls
        self._account: Account | None = None
        self._maildrop: Maildrop | None = None
        self._lease: Lease | None = None
        self._failures = 0

    # --- the driver's verbs

    async def begin(self) -> None:
        """Greet."""
        self.engine.offers = self.offers()
        self.engine.language = self.language
        self.timestamp = self._timestamps(self.transport)
        if self.timestamp:
            self.engine.greet(Phrase("POP3 server ready {}", self.timestamp))
        else:
            self.engine.greet("POP3 server ready")

    async def handle(self, event: Event) -> None:
        """Answer one command."""
        try:
            await HANDLERS[type(event)](self, event)
        except PostroomError as error:
            self.engine.give_up(error.public, code_of(error))

    async def woken(self) -> None:
        """A snapshot does not change: nothing to do."""

    async def shutting_down(self) -> None:
        """Take leave; nothing is removed, for the session has not entered the UPDATE state."""
        self.engine.dismiss("Server shutting down", ResponseCode.SYS_TEMP)

    async def failed(self, error_id: str) -> None:
        """Answer a bug."""
        self.engine.give_up(Phrase("Internal error {}", error_id), ResponseCode.SYS_TEMP)

    async def end(self) -> None:
        """Give the lock back."""
        await self.release()

    # --- what handlers use

    def offers(self) -> Offers:
        """What this connection is offered now."""
        policy, unknown = self._rules.policy, self.terms is None
        terms = self.terms or policy.strictest()
        return Offers(
            mechanisms=self.authenticator.mechanisms(self.transport),
            password=self.authenticator.offered(self.transport),
            stls=self._stls and self.transport.tls is None,
            profiles=self._profiles,
            login_delay=terms.login_delay,
            login_delay_differs=unknown and policy.delay_differs,
            expire=terms.expire,
            expire_differs=unknown and policy.expire_differs,
        )

    def opened(self) -> tuple[Account, Maildrop]:
        """Who has logged in, and the maildrop. In the TRANSACTION state only."""
        assert self._account is not None
        assert self._maildrop is not None
        return self._account, self._maildrop

    async def log_in(self, login: Awaitable[Account], names: Names | None = None) -> None:
        """Open the maildrop of whoever ``login`` proves to be there, or what the selection of ``names`` takes of it, and answer.
        Raises InUse, TooSoon, Unavailable."""
        try:
            account = await login
        except AuthenticationFailed as error:
            self._failures += 1
            close = self._failures >= _FAILED_LOGINS
            self.engine.send(Err(error.public, code_of(error), close))
            return
        self._lease = await self.store.lock_maildrop(account.id)
        try:
            terms = self._rules.policy.of(account.name)
            self._rules.admit(account.id, terms)
            maildrop = await self._snapshot(account, names.selection if names else None)
        except BaseException:
            await self.release()
            raise
        self._account = account
        self._maildrop = maildrop
        self.terms = terms
        if not self.utf8:
            self.surrogates = Surrogates(self.store, account, maildrop, self._rules.measures)
        self.engine.offers = self.offers()
        self.engine.send(LoggedIn(summary(maildrop)))

    def turn_to(self, maildrop: Maildrop) -> None:
        """Another folder's messages are numbered from here on; they are shown as they are stored."""
        self._maildrop = maildrop
        self.surrogates = None
        self.retrieved.clear()
        self.last = 0

    @property
    def message_limit(self) -> int:
        """Octets of a message that is taken."""
        return _MESSAGE_LIMIT if self.submission is None else self.submission.message_size

    def wall_clock(self) -> int:
        """Seconds since 1970."""
        return int(self._rules.clock())

    async def message(self, number: int) -> Octets:
        """A message as this session gets it. Raises NoSuchMessage, NeedsUtf8, Corrupt, Unavailable."""
        if self.surrogates is not None:
            return await self.surrogates.message(number)
        return await self.opened()[1].message(number)

    async def release(self) -> None:
        """Give the lock back; idempotent."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.release()

    async def _snapshot(self, account: Account, selection: Selection | None) -> Maildrop:
        try:
            inbox = self.store.mailbox(account.id, INBOX)
        except (NoSuchMailbox, Unavailable):
            # The account may be new: nothing has been delivered to it yet.
            await self.store.create_account(account.id, account.quota)
            inbox = self.store.mailbox(account.id, INBOX)
        brought = self._rules.unique_ids.load(account.id, inbox.uid_validity)
        maildrop = Maildrop(self.store, account, inbox, selection, brought)
        if selection is not None:
            await maildrop.read()  # no counters tell what a part of INBOX holds
        return maildrop
