"""OAUTHBEARER (RFC 7628) and XOAUTH2 (its predecessor at large providers): a bearer token in place of a password.

Invariants: the token is never in a repr. A refused token is answered by a JSON object as a last challenge, which the
client acknowledges with one octet (RFC 7628 §3.2.3); only then the exchange fails.

It must not know: what a token looks like within, or who issues it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from postroom.model.credentials import ScramKeys
from postroom.wire.errors import LocalProtocolError, ParseError, RemoteProtocolError
from postroom.wire.sasl.api import (
    Challenge,
    ChannelBindings,
    Failure,
    MechanismSpec,
    NeedsToken,
    Proof,
    ServerStep,
)

MAX_MESSAGE: Final = 9_000
"""Octets of a client's message; tokens with many claims have some thousands."""
_ACKNOWLEDGMENT: Final = b"\x01"
# RFC 7628 §3.1
_KEY: Final = re.compile(rb"[A-Za-z]+")
_VALUE: Final = re.compile(rb"[\x21-\x7e \t\r\n]*")
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""b64token of RFC 6750 §2.1."""
_GS2: Final = re.compile(rb"(?:n|y|p=[A-Za-z0-9.-]+),(?:a=((?:[^\x00,=]|=2C|=3D)+))?,")


@dataclass(slots=True, frozen=True)
class BearerMessage:
    """What a client sends. ``host`` and ``port`` are where it believes to be connected; empty and 0 when not said."""

    user: str
    token: str = field(repr=False)
    host: str = ""
    port: int = 0


def _pairs(text: bytes) -> dict[bytes, bytes]:
    """``*(key "=" value %x01) %x01``."""
    if not text.endswith(b"\x01\x01"):
        raise ParseError("the message has no end")
    pairs: dict[bytes, bytes] = {}
    for pair in text[:-2].split(b"\x01"):
        key, equals, value = pair.partition(b"=")
        key = key.lower()
        if not equals or not _KEY.fullmatch(key) or not _VALUE.fullmatch(value) or key in pairs:
            raise ParseError("not a list of keys and values")
        pairs[key] = value
    return pairs


def _bearer(pairs: dict[bytes, bytes]) -> str:
    scheme, _, token = pairs.get(b"auth", b"").strip(b" ").partition(b" ")
    token = token.strip(b" ")
    if scheme.lower() != b"bearer" or not _TOKEN.fullmatch(token):
        raise ParseError("no bearer token")
    return token.decode()


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise ParseError("a name that is not UTF-8") from error


def parse_oauthbearer(message: bytes) -> BearerMessage:
    """``gs2-header kvsep *kvpair kvsep`` (RFC 7628 §3.1). Raises ParseError."""
    found = _GS2.match(message)
    if found is None or message[found.end() : found.end() + 1] != b"\x01":
        raise ParseError("no GS2 header")
    if message.startswith(b"p"):
        raise ParseError("channel binding is not supported")
    pairs = _pairs(message[found.end() + 1 :])
    port = pairs.get(b"port", b"0")
    if not port.isdigit() or len(port) > 5:
        raise ParseError("a bad port")
    name = _decoded(found[1] or b"").replace("=2C", ",").replace("=3D", "=")
    host = pairs.get(b"host", b"").decode()
    return BearerMessage(name, _bearer(pairs), host, int(port))


def write_oauthbearer(message: BearerMessage) -> bytes:
    """The opposite."""
    name = message.user.replace("=", "=3D").replace(",", "=2C")
    acting = f"a={name}" if name else ""
    host = f"host={message.host}\x01" if message.host else ""
    port = f"port={message.port}\x01" if message.port else ""
    return f"n,{acting},\x01{host}{port}auth=Bearer {message.token}\x01\x01".encode()


def parse_xoauth2(message: bytes) -> BearerMessage:
    """``user=NAME %x01 auth=Bearer TOKEN %x01 %x01``. Raises ParseError."""
    user, separator, rest = message.partition(b"\x01")
    if not separator or not user.lower().startswith(b"user="):
        raise ParseError("no user")
    name = _decoded(user[5:])
    if not name or "\0" in name:
        raise ParseError("an empty name, or NUL in it")
    return BearerMessage(name, _bearer(_pairs(rest)))


def write_xoauth2(message: BearerMessage) -> bytes:
    """The opposite."""
    return f"user={message.user}\x01auth=Bearer {message.token}\x01\x01".encode()


def write_refusal(word: str, scope: str = "", configuration: str = "") -> bytes:
    """OAUTHBEARER's reason for a refusal (RFC 7628 §3.2.2). ``word`` is a code of RFC 6750 §3.1, ``scope`` what a token needs,
    ``configuration`` where the issuer's endpoints are told."""
    told = {"status": word, "scope": scope, "openid-configuration": configuration}
    return _json({name: value for name, value in told.items() if value})


def write_xoauth2_refusal(word: str, scope: str = "") -> bytes:
    """XOAUTH2's: statuses are those of HTTP (RFC 6750 §3.1)."""
    told = {"status": "403" if word == "insufficient_scope" else "401", "schemes": "bearer", "scope": scope}
    return _json({name: value for name, value in told.items() if value})


def _json(told: dict[str, str]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()


class BearerServer:
    """The server's side of both."""

    __slots__ = ("_state", "_xoauth2")

    def __init__(self, _bindings: ChannelBindings | None = None, *, xoauth2: bool = False) -> None:
        self._xoauth2 = xoauth2
        self._state = 0

    def step(self, response: bytes | None) -> ServerStep:
        """An empty challenge when there was no initial response, the message, the acknowledgment of a refusal."""
        if self._state == 2:
            self._state = 3
            # quirk: clients of XOAUTH2 acknowledge with an empty response
            if response in (_ACKNOWLEDGMENT, b""):
                return Failure("the token was refused")
            return Failure("the token was refused, and the refusal was answered wrongly")
        if self._state == 3:
            raise LocalProtocolError("the exchange is over")
        if response is None:
            return Challenge(b"")
        self._state = 3
        if len(response) > MAX_MESSAGE:
            return Failure("an overlong message")
        try:
            message = parse_xoauth2(response) if self._xoauth2 else parse_oauthbearer(response)
        except ParseError as error:
            return Failure(str(error))
        self._state = 1
        return NeedsToken(message.user, message.token)

    def refused(self, word: str, scope: str = "", configuration: str = "") -> ServerStep:
        """The JSON object that tells why, in the mechanism's own form."""
        if self._state != 1:
            raise LocalProtocolError("no token was to be verified")
        self._state = 2
        if self._xoauth2:
            return Challenge(write_xoauth2_refusal(word, scope))
        return Challenge(write_refusal(word, scope, configuration))

    def secret(self, _secret: ScramKeys | bytes) -> ServerStep:
        """Never asked for."""
        raise LocalProtocolError("bearer tokens need no secret")


class BearerClient:
    """The client's side of both; the token comes where other mechanisms have the password.

    ``refusal`` is the server's JSON object when it has refused the token.
    """

    __slots__ = ("_message", "refusal")

    def __init__(
        self,
        authcid: str,
        token: str,
        _bindings: ChannelBindings | None = None,
        *,
        xoauth2: bool = False,
        host: str = "",
        port: int = 0,
    ) -> None:
        if not _TOKEN.fullmatch(token.encode()):
            raise LocalProtocolError("not a bearer token")
        message = BearerMessage(authcid, token, host, port)
        self._message: bytes | None = write_xoauth2(message) if xoauth2 else write_oauthbearer(message)
        self.refusal = b""

    def initial(self) -> bytes | None:
        """Everything."""
        message, self._message = self._message, None
        return message

    def step(self, challenge: bytes) -> bytes:
        """The message to an empty challenge; to a refusal the acknowledgment, after which the server fails the exchange."""
        if not challenge and self._message is not None:
            return self.initial() or b""
        if self.refusal or not challenge:
            raise RemoteProtocolError("a challenge too many")
        self.refusal = challenge
        return _ACKNOWLEDGMENT

    @property
    def complete(self) -> bool:
        """False once the token was refused: a success after that is none."""
        return not self.refusal


OAUTHBEARER: Final = MechanismSpec(
    "OAUTHBEARER", BearerServer, BearerClient, reveals_password=True, proof=Proof.TOKEN
)
XOAUTH2: Final = MechanismSpec(
    "XOAUTH2",
    partial(BearerServer, xoauth2=True),
    partial(BearerClient, xoauth2=True),
    reveals_password=True,
    proof=Proof.TOKEN,
)
