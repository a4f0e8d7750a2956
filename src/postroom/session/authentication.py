"""Who is there: passwords and SASL exchanges for every protocol, with one place for limits and caching.

Invariants:
- Nothing is verified in clear unless the listener allows it for the peer.
- Every failure has one public text; unknown, disabled and mistyped cost the same work (threats T10).
- A password is hashed at most once a minute for each (mechanism, login, listener, password): a client with ten
  connections costs one hash. The cache holds keyed digests, and nothing of it outlives a change of the directory (T15).
- Limits are looked at before anything else, and again when an attempt's turn has come.

It must not know: the protocols that carry an exchange, how passwords are stored, threads.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from postroom.model.account import Account
from postroom.model.errors import AuthenticationFailed, TooManyAttempts, Unavailable
from postroom.model.ids import AccountId
from postroom.session.attempts import Attempts
from postroom.session.authentication_errors import EncryptionRequired, ExchangeCancelled, MechanismUnknown
from postroom.session.bans import Bans
from postroom.session.bearer import INVALID, TokenRefused, TokenVerifier
from postroom.session.credential_directory import (
    AttemptRecord,
    CredentialDirectory,
    Executor,
    StoredCredentials,
)
from postroom.session.external import CertificateName, names_in
from postroom.session.kerberos import Ticket, TicketRefused, TicketVerifier
from postroom.session.lately import Lately
from postroom.session.transport import Transport
from postroom.session.turns import Turns
from postroom.wire.sasl.api import (
    Challenge,
    Failure,
    MechanismSpec,
    NeedsCertificate,
    NeedsPassword,
    NeedsScramSecret,
    NeedsSharedSecret,
    NeedsToken,
    Proof,
    ServerMechanism,
    Success,
    TokenMechanism,
)
from postroom.wire.sasl.gssapi import GssapiServer
from postroom.wire.sasl.registry import BY_NAME, MECHANISMS

__all__ = [
    "AttemptRecord",
    "Authenticator",
    "ChallengeFunction",
    "CredentialDirectory",
    "EncryptionRequired",
    "ExchangeCancelled",
    "Executor",
    "MechanismUnknown",
    "StoredCredentials",
]

CACHE_SECONDS: Final = 60.0
_MOST_BANNED: Final = 65_536
_PROTOCOLS: Final = {"imap": "imap", "pop": "pop3", "smtp": "submission"}
"""What app passwords are for, by the names of services in SASL."""

ChallengeFunction = Callable[[bytes], Awaitable[bytes | None]]
"""Sends a challenge (decoded octets) and returns the response, or None when the client cancelled."""


class Authenticator:
    """Verifies who is there; one per worker, shared by all sessions."""

    def __init__(
        self,
        directory: CredentialDirectory,
        executor: Executor,
        attempts: Attempts | None = None,
        record: Callable[[AttemptRecord], None] | None = None,
        cache_seconds: float = CACHE_SECONDS,
        *,
        tokens: TokenVerifier | None = None,
        tickets: TicketVerifier | None = None,
        certificate_names: Sequence[CertificateName] = (CertificateName.MAILBOX,),
        channel_binding: bool = True,
        without: Collection[str] = (),
        cram_md5: bool = False,
        bans: Bans | None = None,
        wall_clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``record`` is told of every finished attempt; it must not raise. ``cache_seconds`` is how long a verified password
        is remembered. Without ``tokens`` no mechanism that takes a bearer token is offered, without ``tickets`` none of
        Kerberos. ``certificate_names`` are the names in a client's certificate that are taken for logins. Without
        ``channel_binding`` no -PLUS is offered, and none of the mechanisms named in ``without``; CRAM-MD5 only with
        ``cram_md5``. ``bans`` knows who may not log in at all; ``wall_clock``
        gives seconds since 1970."""
        self._directory = directory
        self._executor = executor
        self._attempts = attempts or Attempts()
        self._record = record
        self._tokens = tokens
        self._tickets = tickets
        self._certificate_names = certificate_names
        self._channel_binding = channel_binding
        self._without = frozenset(without)
        self._cram_md5 = cram_md5
        self._bans = bans
        self._wall_clock = wall_clock
        self._banned: set[str] = set()
        self._key = secrets.token_bytes(32)
        self._lately = Lately(cache_seconds)
        self._turns = Turns(executor)
        self._offered: dict[tuple[bool, bool, bool], tuple[str, ...]] = {}

    def offered(self, transport: Transport) -> bool:
        """Whether a client may authenticate at all on this connection as it is now (TLS, or allowed in clear)."""
        return transport.tls is not None or transport.cleartext_auth_allowed

    def mechanisms(self, transport: Transport) -> tuple[str, ...]:
        """Names of the SASL mechanisms to announce now, best first; empty when nothing may be offered in clear."""
        if not self.offered(transport):
            return ()
        tls = transport.tls
        # All that makes a difference: worked out once for each kind of connection, not twice for each of them.
        kind = (
            tls is not None,
            bool(self._bindings(transport)),
            tls is not None and tls.certificate is not None,
        )
        found = self._offered.get(kind)
        if found is None:
            found = self._offered[kind] = tuple(
                spec.name
                for spec in MECHANISMS
                if (kind[1] or not spec.binds)
                and spec.name not in self._without
                and self._can_check(spec, transport)
            )
        return found

    def _bindings(self, transport: Transport) -> Mapping[str, bytes]:
        """Channel-binding data of the connection; none where binding is turned off."""
        return transport.tls.bindings if self._channel_binding and transport.tls is not None else {}

    def _can_check(self, spec: MechanismSpec, transport: Transport) -> bool:
        """Whether what the mechanism proves can be checked here and now."""
        match spec.proof:
            case Proof.PASSWORD:
                return True
            case Proof.TOKEN:  # whoever reads a token can use it: over TLS alone (RFC 7628 §4)
                return self._tokens is not None and transport.tls is not None
            case Proof.CERTIFICATE:
                return transport.tls is not None and transport.tls.certificate is not None
            case Proof.TICKET:
                return self._tickets is not None
            case Proof.SHARED_SECRET:
                return self._cram_md5

    async def login(
        self, user: str, password: str, transport: Transport, mechanism: str = "LOGIN", service: str = ""
    ) -> Account:
        """Verify a plain password (IMAP LOGIN, POP3 PASS); ``mechanism`` names the way for the log, ``service`` the protocol as
        for ``exchange``.

        Raises AuthenticationFailed, TooManyAttempts (a subclass), EncryptionRequired, Unavailable.
        """
        if not self.offered(transport):
            raise EncryptionRequired
        return await self._verify(mechanism, user, password, transport, service)

    async def login_by_secret(
        self, user: str, fits: Callable[[bytes], bool], transport: Transport, mechanism: str
    ) -> Account:
        """Verify a proof that the client knows the account's shared secret (POP3 APOP): ``fits`` says whether it was made with
        a secret, by constant-time comparison. Whether the connection may use it is the caller's affair.

        Raises AuthenticationFailed, TooManyAttempts (a subclass), Unavailable.
        """
        credentials = self._directory.credentials(user)
        login, account = credentials.login, credentials.account
        await self._admit(mechanism, login, transport)
        right = fits(self._shared_secret(mechanism, credentials, transport))
        if not credentials.has_shared_secret:
            raise await self._refusal(mechanism, login, transport, "no shared secret")
        if not right:
            raise await self._refusal(mechanism, login, transport, "a wrong digest")
        if account is None or not account.enabled:
            raise await self._refusal(mechanism, login, transport, "unknown or disabled")
        self._accept(mechanism, login, account, transport)
        return account

    async def exchange(
        self,
        mechanism: str,
        initial: bytes | None,
        transport: Transport,
        challenge: ChallengeFunction,
        service: str = "",
        login_of: Callable[[str], str] = str,
    ) -> Account:
        """Drive a whole SASL exchange.

        ``initial`` is the decoded initial response, None when there was none (``b""`` is an empty one); ``service`` is the
        protocol's name within Kerberos (RFC 4752 §3.3: the one SASL knows it by), such as ``imap``; ``login_of`` tells whose
        password or secret counts for a name that the client gave: for the one it logs in with, then for the one it wants to
        be. Raises MechanismUnknown, EncryptionRequired, ExchangeCancelled, AuthenticationFailed, TooManyAttempts, Unavailable,
        and whatever ``challenge`` raises.
        """
        spec = self._chosen(mechanism, transport)
        if spec.proof is Proof.TICKET:
            return await self._exchange_tickets(spec.name, initial, transport, challenge, service)
        server = spec.server(self._bindings(transport))
        user = ""
        step = server.step(initial)
        while True:
            match step:
                case Challenge(octets):
                    response = await challenge(octets)
                    if response is None:
                        raise ExchangeCancelled
                    step = server.step(response)
                case NeedsPassword(name, password, authzid):
                    authcid = login_of(name)
                    if not self._acts_as_itself(authcid, authzid and login_of(authzid)):
                        raise await self._refusal(
                            spec.name, authcid, transport, "another authorization identity"
                        )
                    return await self._verify(spec.name, authcid, password, transport, service)
                case NeedsScramSecret(name, authzid, hash_name):
                    authcid = login_of(name)
                    credentials = self._directory.credentials(authcid)
                    user = credentials.login
                    await self._admit(spec.name, user, transport)
                    if not self._acts_as_itself(authcid, authzid and login_of(authzid)):
                        raise await self._refusal(
                            spec.name, user, transport, "another authorization identity"
                        )
                    step = server.secret(
                        credentials.scram if hash_name == "sha256" else credentials.scram_sha1
                    )
                case NeedsToken():
                    return await self._bear(spec.name, server, step, transport, challenge)
                case NeedsCertificate(authzid):
                    return await self._present(spec.name, authzid, transport)
                case NeedsSharedSecret(name):
                    credentials = self._directory.credentials(login_of(name))
                    user = credentials.login
                    await self._admit(spec.name, user, transport)
                    step = server.secret(self._shared_secret(spec.name, credentials, transport))
                    if not credentials.has_shared_secret:
                        step = Failure("no shared secret")
                case Success(_, _, octets):
                    return await self._proved(spec.name, user, octets, transport, challenge)
                case Failure(reason):
                    raise await self._refusal(spec.name, user, transport, reason)

    def _chosen(self, mechanism: str, transport: Transport) -> MechanismSpec:
        """The row of a mechanism that is offered here and now. Raises EncryptionRequired, MechanismUnknown."""
        if not self.offered(transport):
            raise EncryptionRequired
        spec = BY_NAME.get(mechanism.upper())
        if spec is None or spec.name not in self.mechanisms(transport):
            raise MechanismUnknown
        return spec

    async def _bear(
        self,
        mechanism: str,
        server: ServerMechanism,
        asked: NeedsToken,
        transport: Transport,
        challenge: ChallengeFunction,
    ) -> Account:
        """Who a bearer token stands for. A refusal is counted before the client is told why."""
        assert self._tokens is not None
        assert isinstance(server, TokenMechanism)
        await self._admit(mechanism, asked.authzid, transport)
        login, word = asked.authzid, INVALID
        try:
            login = (await self._tokens.verify(asked.token)).login
            reason = "another user's token"
            if self._acts_as_itself(login, asked.authzid):
                credentials = self._directory.credentials(login)
                account = credentials.account
                if account is not None and account.enabled:
                    self._accept(mechanism, credentials.login, account, transport)
                    return account
                reason = "unknown or disabled"
        except TokenRefused as error:
            word, reason = error.word, error.private
        refusal = await self._refusal(mechanism, login, transport, reason)
        told = server.refused(word, self._tokens.scope, self._tokens.configuration_url)
        assert isinstance(told, Challenge)
        await challenge(told.octets)  # whatever the client says to it (RFC 7628 §3.2.3)
        raise refusal

    async def _present(self, mechanism: str, authzid: str, transport: Transport) -> Account:
        """Who the client's certificate stands for; if for several, who of them the client says it is."""
        assert transport.tls is not None
        assert transport.tls.certificate is not None
        names = names_in(transport.tls.certificate, self._certificate_names)
        await self._admit(mechanism, authzid or (names[0] if names else ""), transport)
        found = {each.login: each.account for each in map(self._directory.credentials, names)}
        if authzid:
            wanted = self._directory.credentials(authzid).login
            found = {wanted: found.get(wanted)}
        accounts = {login: account for login, account in found.items() if account is not None}
        if len(accounts) > 1:
            raise await self._refusal(mechanism, "", transport, "a certificate of several accounts")
        for login, account in accounts.items():
            if account.enabled:
                self._accept(mechanism, login, account, transport)
                return account
        login = next(iter(found), "")
        raise await self._refusal(mechanism, login, transport, "a certificate of nobody, or disabled")

    async def _exchange_tickets(
        self,
        mechanism: str,
        initial: bytes | None,
        transport: Transport,
        challenge: ChallengeFunction,
        service: str,
    ) -> Account:
        """GSSAPI; its steps block."""
        assert self._tickets is not None
        await self._admit(mechanism, "", transport)
        server = GssapiServer(self._tickets.acceptor(service))
        response = initial
        while True:
            step = await self._executor.run(server.step, response)
            if isinstance(step, Success):
                return await self.principal(mechanism, step.authcid, step.authzid, transport)
            if not isinstance(step, Challenge):
                assert isinstance(step, Failure)
                raise await self._refusal(mechanism, "", transport, step.reason)
            response = await challenge(step.octets)
            if response is None:
                raise ExchangeCancelled

    async def read_ticket(self, request: bytes, transport: Transport) -> Ticket:
        """Verify KPOP's AP-REQ. Raises TicketRefused, TooManyAttempts, Unavailable, EncryptionRequired."""
        if not self.offered(transport):
            raise EncryptionRequired
        if self._tickets is None:
            raise MechanismUnknown
        await self._admit("KPOP", "", transport)
        try:
            return await self._executor.run(self._tickets.read, request)
        except TicketRefused as error:
            await self._refusal("KPOP", "", transport, error.private)
            raise

    async def principal(self, mechanism: str, principal: str, authzid: str, transport: Transport) -> Account:
        """The account of a principal whose ticket has been verified; ``authzid`` is empty or who it wants to be. Raises
        AuthenticationFailed."""
        assert self._tickets is not None
        login = self._tickets.realms.login(principal)
        if login is None:
            raise await self._refusal(mechanism, "", transport, f"nobody's principal: {principal:.200}")
        credentials = self._directory.credentials(login)
        account = credentials.account
        # quirk: Cyrus SASL, fetchmail and others name the user as its principal does, without a domain or with the realm.
        if authzid not in (principal, principal.partition("@")[0]) and not self._acts_as_itself(
            login, authzid
        ):
            raise await self._refusal(
                mechanism, credentials.login, transport, "another authorization identity"
            )
        if account is None or not account.enabled:
            raise await self._refusal(mechanism, credentials.login, transport, "unknown or disabled")
        self._accept(mechanism, credentials.login, account, transport)
        return account

    async def _proved(
        self,
        mechanism: str,
        login: str,
        octets: bytes | None,
        transport: Transport,
        challenge: ChallengeFunction,
    ) -> Account:
        """A mechanism has verified the client by itself; the additional data must still arrive."""
        credentials = self._directory.credentials(login)
        account = credentials.account
        if account is None or not account.enabled:
            raise await self._refusal(mechanism, credentials.login, transport, "unknown or disabled")
        if octets is not None:
            response = await challenge(octets)
            if response is None:
                raise ExchangeCancelled
            if response:
                raise await self._refusal(
                    mechanism, credentials.login, transport, "data behind the last challenge"
                )
        self._accept(mechanism, credentials.login, account, transport)
        return account

    async def _verify(
        self, mechanism: str, user: str, password: str, transport: Transport, service: str
    ) -> Account:
        login = self._directory.credentials(user).login
        address = transport.peer.address
        digest = self._digest(f"{service} {mechanism}", login, transport, password)
        wrong = self._digest("", login, transport, password)
        async with self._turns.take((address, login)):
            admitted = self._admitted(address, login)
            if admitted:
                account = await self._look_up(digest, login, password, _PROTOCOLS.get(service, ""))
                if account is not None:
                    self._accept(mechanism, login, account, transport)
                    return account
                self._attempts.failed(address, login, self._executor.now(), wrong)
        # The turn is given back before the delay: another login of the same user does not wait for it.
        raise await self._failure(
            mechanism, login, transport, "wrong, unknown or disabled", unseen=not admitted
        )

    async def _look_up(self, digest: bytes, login: str, password: str, protocol: str) -> Account | None:
        """The account if the password is right: one of its app passwords, or its own, from the cache or by hashing. Raises
        Unavailable."""
        version = self._directory.version
        known = self._lately.find(digest, version, self._executor.now())
        if known is not None:
            return known[1]
        credentials = self._directory.credentials(login)
        if credentials.has_app_password(password, protocol, self._wall_clock()):
            # Not remembered: it costs nothing to compare, and may end at any moment.
            return credentials.account if credentials.account and credentials.account.enabled else None
        fits = await self._executor.run(credentials.verify, password)
        current = self._directory.credentials(login)
        if current.password_hash != credentials.password_hash and current.account is not None:
            # Changed while the hash was computed: what counts is the password there is now.
            credentials, fits = current, await self._executor.run(current.verify, password)
        account = current.account if fits and current.account and current.account.enabled else None
        if account is not None and credentials.outdated:
            await self._renew(account.id, credentials.password_hash, password)
            return account
        self._lately.remember(digest, account, version, self._executor.now())
        return account

    async def _renew(self, account: AccountId, verified: str, password: str) -> None:
        try:
            await self._executor.run(self._directory.renew_password, account, verified, password)
        except Unavailable:
            return  # the login is right all the same; the next one tries again

    def _shared_secret(self, mechanism: str, credentials: StoredCredentials, transport: Transport) -> bytes:
        """Or Unavailable, which is told: it is for the administrator to mend."""
        try:
            return credentials.shared_secret()
        except Unavailable as error:
            self._tell(mechanism, credentials.login, None, transport, error.private)
            raise

    def _acts_as_itself(self, authcid: str, authzid: str) -> bool:
        if not authzid:
            return True
        return self._directory.credentials(authzid).login == self._directory.credentials(authcid).login

    def _admitted(self, address: str, login: str) -> bool:
        """Whether an attempt may be made at all: not by who is banned, nor by who has tried too much."""
        if self._bans is not None:
            if self._bans.banned(address):
                if len(self._banned) < _MOST_BANNED:
                    self._banned.add(address)
                return False
            if address in self._banned:
                self._banned.discard(address)
                self._attempts.forget(address)  # let in again: what led to the ban is forgotten
        return self._attempts.admitted(address, login, self._executor.now())

    async def _admit(self, mechanism: str, login: str, transport: Transport) -> None:
        if not self._admitted(transport.peer.address, login):
            raise await self._failure(mechanism, login, transport, "", unseen=True)

    async def _refusal(
        self, mechanism: str, login: str, transport: Transport, reason: str
    ) -> AuthenticationFailed:
        """Count a failure that is not about a password; the error to raise."""
        login = self._directory.credentials(login).login if login else ""
        address = transport.peer.address
        admitted = self._admitted(address, login)
        if admitted:
            self._attempts.failed(address, login, self._executor.now())
        return await self._failure(mechanism, login, transport, reason, unseen=not admitted)

    async def _failure(
        self, mechanism: str, login: str, transport: Transport, reason: str, *, unseen: bool
    ) -> AuthenticationFailed:
        """Tell and delay; the error to raise. ``unseen``: refused without being looked at."""
        self._tell(mechanism, login, None, transport, "too many attempts" if unseen else reason)
        if unseen:
            self._attempts.refused(transport.peer.address, self._executor.now())
        if self._bans is not None and self._attempts.flooding(transport.peer.address, self._executor.now()):
            await self._bans.ban(transport.peer.address)
        delay = self._attempts.delay(transport.peer.address, self._executor.now())
        if delay:
            await self._executor.sleep(delay)
        if unseen:
            return TooManyAttempts(private="too many attempts")
        return AuthenticationFailed(private=reason)

    def _accept(self, mechanism: str, login: str, account: Account, transport: Transport) -> None:
        self._attempts.succeeded(transport.peer.address, login)
        self._tell(mechanism, login, account.id, transport, "ok")

    def _tell(
        self, mechanism: str, login: str, account: AccountId | None, transport: Transport, outcome: str
    ) -> None:
        if self._record is not None:
            peer = transport.peer
            self._record(
                AttemptRecord(transport.session_id, peer.address, mechanism, login, account, outcome)
            )

    def _digest(self, mechanism: str, login: str, transport: Transport, password: str) -> bytes:
        """Of everything a result depends on, each part with its length so that no two meet (threats T15)."""
        peer = transport.peer
        parts = (mechanism, login, peer.local_address, str(peer.local_port), password)
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        # Keyed BLAKE2b: a tenth of what OpenSSL's HMAC costs for so little.
        return hashlib.blake2b(
            b"".join([b"%d:%b" % (len(part), part) for part in encoded]), digest_size=32, key=self._key
        ).digest()
