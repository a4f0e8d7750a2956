"""GSSAPI (RFC 4752): Kerberos V5 tickets prove who the client is, and to the client who the server is.

Purpose: the order of tokens and the last, wrapped, message. What a token holds is a SecurityContext's to know, which is
injected: its calls may block, so ``step`` of the server and of the client may, and are then called off the event loop.

Invariants: no security layer is offered or taken (bit mask 1, RFC 4752 §3.3): TLS does that. The last message counts only
if its wrapping is right. How many rounds a context takes is bounded.

It must not know: Kerberos libraries, keytabs, which principal is which account.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NoReturn, Protocol

from postroom.model.credentials import ScramKeys
from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.sasl.api import (
    Challenge,
    ClientMechanism,
    Failure,
    MechanismSpec,
    Proof,
    ServerMechanism,
    ServerStep,
    Success,
)

MAX_NAME: Final = 255
"""Octets of an authorization identity."""
_MAX_ROUNDS: Final = 8
_NO_LAYER: Final = 1
"""The bit of the mask that says: no security layer (RFC 4752 §3.3)."""
_MASK_AND_SIZE: Final = 4
"""Octets before the authorization identity: a bit mask, and the largest message in the other three."""


class SecurityContextError(Exception):
    """The context refuses a token; the text is for the log only."""


class SecurityContext(Protocol):
    """One side of a GSS-API security context (RFC 2743 §1.1.3); everything raises SecurityContextError."""

    def step(self, token: bytes, /) -> bytes:
        """GSS_Accept_sec_context or GSS_Init_sec_context: a token of the peer (``b""`` to begin with, for an initiator) to
        a token for the peer, empty when there is none. May block."""

    @property
    def complete(self) -> bool:
        """Whether the context is established."""

    @property
    def peer(self) -> str:
        """The peer's name once established, such as ``user@REALM``."""

    def wrap(self, octets: bytes, /) -> bytes:
        """GSS_Wrap without confidentiality."""

    def unwrap(self, octets: bytes, /) -> bytes:
        """GSS_Unwrap; the message's integrity has been checked."""


class _Phase(Enum):
    TOKENS = auto()
    EMPTY = auto()
    """The context is established and our last token is out: an empty response is due."""
    LAYER = auto()
    """The wrapped choice of a security layer is due."""
    DONE = auto()


class GssapiServer:
    """The server's side over an accepting context. Success names the client's principal, and who it wants to be."""

    __slots__ = ("_context", "_phase", "_rounds")

    def __init__(self, context: SecurityContext) -> None:
        self._context = context
        self._phase = _Phase.TOKENS
        self._rounds = 0

    def step(self, response: bytes | None) -> ServerStep:
        """RFC 4752 §3.2. May block."""
        if self._phase is _Phase.DONE:
            raise LocalProtocolError("the exchange is over")
        if response is None:
            return Challenge(b"") if self._rounds == 0 else self._fail("no response")
        try:
            match self._phase:
                case _Phase.TOKENS:
                    return self._take_token(response)
                case _Phase.EMPTY:
                    return self._offer() if not response else self._fail("data behind the last token")
                case _:
                    return self._take_choice(self._context.unwrap(response))
        except SecurityContextError as error:
            return self._fail(str(error))

    def secret(self, _secret: ScramKeys | bytes) -> ServerStep:
        """Never asked for."""
        raise LocalProtocolError("GSSAPI asks for no secret")

    def _take_token(self, token: bytes) -> ServerStep:
        self._rounds += 1
        if not token or self._rounds > _MAX_ROUNDS:
            return self._fail("an empty token, or too many")
        answer = self._context.step(token)
        if not self._context.complete:
            return Challenge(answer)
        if answer:
            self._phase = _Phase.EMPTY
            return Challenge(answer)
        return self._offer()

    def _offer(self) -> Challenge:
        self._phase = _Phase.LAYER
        return Challenge(self._context.wrap(bytes((_NO_LAYER, 0, 0, 0))))

    def _take_choice(self, choice: bytes) -> ServerStep:
        if len(choice) < _MASK_AND_SIZE or choice[0] != _NO_LAYER:
            return self._fail("a security layer that was not offered")
        name = choice[_MASK_AND_SIZE:]
        # quirk: Cyrus SASL names the size of its buffer although no layer needs one (§3.1 asks for zeros).
        if len(name) > MAX_NAME or b"\0" in name:
            return self._fail("an overlong name, or a NUL in it")
        try:
            authzid = name.decode()
        except UnicodeDecodeError:
            return self._fail("a name that is not UTF-8")
        self._phase = _Phase.DONE
        return Success(self._context.peer, authzid)

    def _fail(self, reason: str) -> Failure:
        self._phase = _Phase.DONE
        return Failure(f"GSSAPI: {reason}")


class GssapiClient:
    """The client's side over an initiating context, which must ask for mutual authentication."""

    __slots__ = ("_authzid", "_context", "_done", "_rounds")

    def __init__(self, context: SecurityContext, authzid: str = "") -> None:
        self._context = context
        self._authzid = authzid.encode()
        self._rounds = 0
        self._done = False

    def initial(self) -> bytes | None:
        """The first token. May block; raises RemoteProtocolError when there is no ticket for the server."""
        return self._token(b"")

    def step(self, challenge: bytes) -> bytes:
        """RFC 4752 §3.1. May block."""
        if self._done:
            raise RemoteProtocolError("GSSAPI: a challenge behind the last message")
        if not self._context.complete:
            return self._token(challenge)
        try:
            offer = self._context.unwrap(challenge)
            if len(offer) != _MASK_AND_SIZE or not offer[0] & _NO_LAYER:
                raise RemoteProtocolError("GSSAPI: the server insists on a security layer")
            answer = self._context.wrap(bytes((_NO_LAYER, 0, 0, 0)) + self._authzid)
        except SecurityContextError as error:
            raise RemoteProtocolError(f"GSSAPI: {error}") from error
        self._done = True
        return answer

    @property
    def complete(self) -> bool:
        """The server has proved to know its key, and its offer was not altered."""
        return self._done

    def _token(self, token: bytes) -> bytes:
        self._rounds += 1
        # The first challenge is empty when the protocol had no place for an initial response.
        if self._rounds > _MAX_ROUNDS or (not token and self._rounds > 1):
            raise RemoteProtocolError("GSSAPI: an empty token, or too many")
        try:
            return self._context.step(token)
        except SecurityContextError as error:
            raise RemoteProtocolError(f"GSSAPI: {error}") from error


def _no_server(_bindings: object) -> ServerMechanism:
    _needs_context()


def _no_client(_name: str, _password: str, _bindings: object) -> ClientMechanism:
    _needs_context()


def _needs_context() -> NoReturn:
    raise LocalProtocolError("GSSAPI is made over a security context, by whoever has one")


GSSAPI: Final = MechanismSpec("GSSAPI", _no_server, _no_client, proof=Proof.TICKET)
"""The row of the registry. Its objects are made by GssapiServer and GssapiClient, over a context."""
