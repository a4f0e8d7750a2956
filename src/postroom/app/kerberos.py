"""Kerberos by MIT's libraries: GSS-API contexts through the `gssapi` package, KPOP's tickets through libkrb5.

Invariants: libraries are loaded once, at the start, and only where Kerberos is configured: what is missing is told then. A
context accepts tickets for its own service on this host alone. What a library says goes to the log, not to the client.

It must not know: protocols, accounts. Contexts and ``read`` block: they run in threads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from postroom.app.krb5 import Krb5, LibraryMissing
from postroom.config.kerberos import Kerberos
from postroom.session.kerberos import Realms, Ticket, TicketRefused
from postroom.wire.kpop.messages import KerberosError
from postroom.wire.sasl.api import ClientMechanism
from postroom.wire.sasl.gssapi import GssapiClient, SecurityContext, SecurityContextError


class Tickets:
    """Implements ``session.kerberos.TicketVerifier``. ``clock`` gives Unix time in seconds."""

    def __init__(self, settings: Kerberos, hostname: str, clock: Callable[[], float]) -> None:
        """Raises LibraryMissing."""
        assert settings.keytab is not None
        self.realms = Realms(settings.domains)
        self._keytab = settings.keytab
        self._host = settings.hostname or hostname
        self._clock = clock
        self._gssapi = load_gssapi()
        self._krb5 = Krb5()

    def acceptor(self, service: str) -> SecurityContext:
        """A context for one exchange."""
        return _Acceptor(self._gssapi, self._keytab, f"{service}@{self._host}")

    def read(self, request: bytes) -> Ticket:
        """Verify KPOP's AP-REQ. Blocks. Raises TicketRefused."""
        return self._krb5.read_request(request, self._keytab, "pop", self._host)

    def error(self, refused: TicketRefused) -> KerberosError:
        """What to tell the client: the code alone, not what the library says about it."""
        realm = next(iter(self.realms.domains), "")
        return KerberosError(refused.code, "Ticket refused", self._clock(), realm, "pop", self._host)


def load_gssapi() -> Any:
    """The package. Raises LibraryMissing with what to install."""
    try:
        return importlib.import_module("gssapi")
    except ImportError as error:
        raise LibraryMissing(f"Kerberos needs the extra `kerberos` (docs/kerberos.md): {error}") from error


class _Context:
    """What both sides have in common. ``_made`` is the package's context once there is one."""

    def __init__(self, gssapi: Any) -> None:
        self._gssapi = gssapi
        self._made: Any = None
        self.complete = False

    def step(self, token: bytes) -> bytes:
        """Blocks. Raises SecurityContextError."""
        try:
            if self._made is None:
                self._made = self._make()
            answer: bytes = self._made.step(token or None) or b""
            # The package puts an error off to the next question where there is a token that tells it.
            self.complete = self._made.complete
        except self._gssapi.exceptions.GSSError as error:
            raise SecurityContextError(_said(error)) from error
        return answer

    def wrap(self, octets: bytes) -> bytes:
        """Without confidentiality (RFC 4752 §3.1)."""
        try:
            wrapped: bytes = self._made.wrap(octets, False).message
        except self._gssapi.exceptions.GSSError as error:
            raise SecurityContextError(_said(error)) from error
        return wrapped

    def unwrap(self, octets: bytes) -> bytes:
        """Checks the message's integrity."""
        try:
            unwrapped: bytes = self._made.unwrap(octets).message
        except self._gssapi.exceptions.GSSError as error:
            raise SecurityContextError(_said(error)) from error
        return unwrapped

    def _make(self) -> Any:
        raise NotImplementedError

    def _name(self, service_at_host: str) -> Any:
        return self._gssapi.Name(service_at_host, self._gssapi.NameType.hostbased_service)


class _Acceptor(_Context):
    """The server's side; ``service`` is written ``imap@host``."""

    def __init__(self, gssapi: Any, keytab: Path, service: str) -> None:
        super().__init__(gssapi)
        self._keytab = keytab
        self._service = service

    @property
    def peer(self) -> str:
        """The client's principal."""
        return str(self._made.initiator_name)

    def _make(self) -> Any:
        credentials = self._gssapi.Credentials(
            name=self._name(self._service),
            usage="accept",
            mechs=[self._gssapi.MechType.kerberos],
            store={"keytab": f"FILE:{self._keytab}"},
        )
        return self._gssapi.SecurityContext(creds=credentials, usage="accept")


class Initiator(_Context):
    """The client's side for ``service`` (``imap``, ``pop``, ``smtp``) on ``host``, with the tickets of this user's cache, or of
    ``cache`` (``FILE:...``). Asks for mutual authentication."""

    def __init__(self, service: str, host: str, cache: str = "") -> None:
        """Raises LibraryMissing."""
        super().__init__(load_gssapi())
        self._service = f"{service}@{host}"
        self._cache = cache

    @property
    def peer(self) -> str:
        """The server's principal."""
        return str(self._made.target_name)

    def _make(self) -> Any:
        gssapi = self._gssapi
        flags = gssapi.RequirementFlag
        store = {"ccache": self._cache} if self._cache else None
        return gssapi.SecurityContext(
            name=self._name(self._service),
            creds=gssapi.Credentials(usage="initiate", mechs=[gssapi.MechType.kerberos], store=store),
            mech=gssapi.MechType.kerberos,
            flags=flags.mutual_authentication | flags.integrity | flags.out_of_sequence_detection,
            usage="initiate",
        )


class _Begun:
    """A client's exchange whose first token has been made: what follows asks nobody and does not block."""

    def __init__(self, mechanism: GssapiClient) -> None:
        """Blocks. Raises RemoteProtocolError."""
        self._mechanism = mechanism
        self._first = mechanism.initial()

    def initial(self) -> bytes | None:
        """The first token."""
        return self._first

    def step(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises RemoteProtocolError."""
        return self._mechanism.step(challenge)

    @property
    def complete(self) -> bool:
        """Whether the server has proved who it is."""
        return self._mechanism.complete


def ticket_for(service: str, host: str, authzid: str) -> ClientMechanism:
    """GSSAPI for one connection to ``service`` on ``host``, to act as ``authzid``; the KDC has been asked when it returns.
    Blocks. Raises LibraryMissing, RemoteProtocolError (no ticket is to be had)."""
    return _Begun(GssapiClient(Initiator(service, host), authzid))


def _said(error: BaseException) -> str:
    """The libraries' messages, on one line."""
    return " ".join(str(error).split())
