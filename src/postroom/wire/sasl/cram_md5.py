"""CRAM-MD5 (RFC 2195): a keyed digest of a challenge, for clients that know nothing better.

Invariants: a challenge is fresh for each object, so a recorded response proves nothing later. The secret is one of its
own, never the login password: the server must be able to read it. An unknown user costs the same work as a wrong digest.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Final

from postroom.model.credentials import ScramKeys
from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.sasl.api import (
    Challenge,
    ChannelBindings,
    Failure,
    MechanismSpec,
    NeedsSharedSecret,
    Proof,
    ServerStep,
    Success,
)

MAX_CHALLENGE: Final = 4_096
"""Octets of a challenge that our client answers."""
MAX_USER: Final = 255
_RESPONSE: Final = re.compile(rb"(?P<user>[^\x00\r\n]+) (?P<digest>[0-9a-f]{32})")


def keyed_digest(secret: bytes, challenge: bytes) -> bytes:
    """32 lower-case hexadecimal digits (RFC 2195 §2)."""
    return hmac.digest(secret, challenge, "md5").hex().encode()


def fresh_challenge() -> bytes:
    """A msg-id nobody has seen before (RFC 2195 §2; what stands in it means nothing to a client)."""
    return f"<{secrets.token_hex(16)}@postroom.invalid>".encode()


class CramMd5Server:
    """The server's side."""

    __slots__ = ("_challenge", "_digest", "_state", "_user")

    def __init__(self, _bindings: ChannelBindings | None = None, *, challenge: bytes | None = None) -> None:
        self._challenge = challenge or fresh_challenge()
        self._user = ""
        self._digest = b""
        self._state = 0

    def step(self, response: bytes | None) -> ServerStep:
        """The challenge, then the client's one response; an initial response is against the protocol."""
        if self._state == 0 and response is None:
            self._state = 1
            return Challenge(self._challenge)
        if self._state == 0:
            self._state = 3
            return Failure("CRAM-MD5: an initial response")
        if self._state != 1:
            raise LocalProtocolError("the exchange is over")
        self._state = 3
        found = _RESPONSE.fullmatch(response or b"")
        if found is None or len(found["user"]) > MAX_USER:
            return Failure("CRAM-MD5: the response does not match the grammar")
        try:
            self._user = found["user"].decode()
        except UnicodeDecodeError:
            return Failure("CRAM-MD5: a name that is not UTF-8")
        self._digest = found["digest"]
        self._state = 2
        return NeedsSharedSecret(self._user)

    def secret(self, secret: ScramKeys | bytes) -> ServerStep:
        """Compare."""
        if self._state != 2 or not isinstance(secret, bytes):
            raise LocalProtocolError("no such secret was asked for")
        self._state = 3
        if not hmac.compare_digest(keyed_digest(secret, self._challenge), self._digest):
            return Failure("CRAM-MD5: a wrong digest")
        return Success(self._user)


class CramMd5Client:
    """The client's side."""

    __slots__ = ("_complete", "_secret", "_user")

    def __init__(self, authcid: str, password: str, _bindings: ChannelBindings | None = None) -> None:
        self._user = authcid.encode()
        self._secret = password.encode()
        self._complete = False

    def initial(self) -> bytes | None:
        """The server speaks first."""
        return None

    def step(self, challenge: bytes) -> bytes:
        """The response to the one challenge."""
        if self._complete:
            raise RemoteProtocolError("CRAM-MD5: a second challenge")
        if not challenge or len(challenge) > MAX_CHALLENGE:
            raise RemoteProtocolError("CRAM-MD5: an empty or overlong challenge")
        self._complete = True
        return self._user + b" " + keyed_digest(self._secret, challenge)

    @property
    def complete(self) -> bool:
        """True once the challenge was answered; the server proves nothing."""
        return self._complete


CRAM_MD5: Final = MechanismSpec("CRAM-MD5", CramMd5Server, CramMd5Client, proof=Proof.SHARED_SECRET)
