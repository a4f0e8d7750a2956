"""SCRAM with SHA-1 and SHA-256, each with its -PLUS (RFC 5802, RFC 7677): they prove the password without showing it.

Invariants: the server's nonce is fresh for each object and an object serves one exchange, so a recorded client-final
message proves nothing later. The gs2 header is checked against what this connection could have bound, so a stripped
-PLUS is noticed (RFC 5802 §6). A wrong proof costs the same work as a right one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass
from functools import partial
from typing import Final

from postroom.model.credentials import (
    MAX_SCRAM_ITERATIONS,
    MIN_SCRAM_ITERATIONS,
    HashName,
    ScramKeys,
    prepared_password,
    salted_password,
    saslprep,
)
from postroom.wire.errors import LocalProtocolError, ParseError, RemoteProtocolError
from postroom.wire.sasl.api import (
    Challenge,
    ChannelBindings,
    Failure,
    MechanismSpec,
    NeedsScramSecret,
    ServerStep,
    Success,
)

MAX_MESSAGE: Final = 4_096
"""Octets of one SCRAM message; real ones have under 300."""

# RFC 5802 §7
_VALUE = rb"[^\x00,]+"
_SASLNAME = rb"(?:[^\x00,=]|=2C|=3D)+"
_PRINTABLE = rb"[\x21-\x2b\x2d-\x7e]+"
_BASE64 = rb"[A-Za-z0-9+/]+={0,2}"
_EXTENSIONS = rb"(?:,[A-Za-z]=" + _VALUE + rb")*"
_CLIENT_FIRST: Final = re.compile(
    rb"(?P<header>(?P<flag>n|y|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>" + _SASLNAME + rb"))?,)"
    rb"(?P<bare>n=(?P<name>" + _SASLNAME + rb"),r=(?P<nonce>" + _PRINTABLE + rb")" + _EXTENSIONS + rb")"
)
_CLIENT_FINAL: Final = re.compile(
    rb"(?P<without>c=(?P<binding>"
    + _BASE64
    + rb"),r=(?P<nonce>"
    + _PRINTABLE
    + rb")(?:,[A-Zabd-oq-z]="
    + _VALUE
    + rb")*),p=(?P<proof>"
    + _BASE64
    + rb")"
)
_SERVER_FIRST: Final = re.compile(
    rb"r=(?P<nonce>"
    + _PRINTABLE
    + rb"),s=(?P<salt>"
    + _BASE64
    + rb"),i=(?P<iterations>[1-9][0-9]{0,9})"
    + _EXTENSIONS
)
_SERVER_FINAL: Final = re.compile(
    rb"(?:v=(?P<verifier>" + _BASE64 + rb")|e=(?P<error>" + _VALUE + rb"))" + _EXTENSIONS
)


@dataclass(slots=True, frozen=True)
class ClientFirst:
    """client-first-message (RFC 5802 §7). ``flag`` is n, y or p; ``binding`` the type named with p."""

    header: bytes
    bare: bytes
    flag: str
    binding: str
    authzid: str
    name: str
    nonce: bytes


def _decode64(text: bytes) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except Base64Error as error:
        raise ParseError("bad base64") from error


def _read_name(name: bytes) -> str:
    try:
        return saslprep(name.decode().replace("=2C", ",").replace("=3D", "="))
    except (UnicodeDecodeError, ValueError) as error:
        raise ParseError("invalid-username-encoding") from error


def _write_name(name: str) -> str:
    return saslprep(name).replace("=", "=3D").replace(",", "=2C")


def _match(pattern: re.Pattern[bytes], message: bytes) -> re.Match[bytes]:
    if len(message) > MAX_MESSAGE:
        raise ParseError("message too long")
    found = pattern.fullmatch(message)
    if found is None:
        raise ParseError("message does not match the grammar")
    return found


def parse_client_first(message: bytes) -> ClientFirst:
    """Raises ParseError; ``m=`` fails by grammar (RFC 5802 §5.1)."""
    found = _match(_CLIENT_FIRST, message)
    authzid = found["authzid"]
    return ClientFirst(
        header=found["header"],
        bare=found["bare"],
        flag=found["flag"][:1].decode(),
        binding=(found["binding"] or b"").decode(),
        authzid=_read_name(authzid) if authzid else "",
        name=_read_name(found["name"]),
        nonce=found["nonce"],
    )


def fresh_nonce() -> bytes:
    """A nonce of 144 random bits, printable without comma."""
    return secrets.token_urlsafe(18).encode()


def _exclusive_or(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))


class ScramServer:
    """The server's side. ``bindings`` is what this connection can be bound to; empty when it cannot."""

    __slots__ = ("_bindings", "_done", "_first", "_hash", "_keys", "_nonce", "_plus", "_server_first")

    def __init__(
        self,
        bindings: ChannelBindings | None = None,
        *,
        plus: bool = False,
        nonce: bytes | None = None,
        hash_name: HashName = "sha256",
    ) -> None:
        self._bindings = bindings or {}
        self._hash: HashName = hash_name
        self._plus = plus
        self._nonce = nonce or fresh_nonce()
        self._first: ClientFirst | None = None
        self._keys: ScramKeys | None = None
        self._server_first = b""
        self._done = False

    def step(self, response: bytes | None) -> ServerStep:
        """client-first, then (after ``secret``) client-final."""
        if self._done:
            raise LocalProtocolError("the exchange is over")
        if response is None:
            return Challenge(b"")
        try:
            if self._first is None:
                return self._take_first(response)
            if self._keys is None:
                raise LocalProtocolError("the secret has not been given")
            return self._take_final(response, self._first, self._keys)
        except ParseError as error:
            return self._fail(str(error))

    def secret(self, keys: ScramKeys | bytes) -> ServerStep:
        """The server-first-message as a challenge."""
        if self._done or self._first is None or self._keys is not None or isinstance(keys, bytes):
            raise LocalProtocolError("no such secret was asked for")
        self._keys = keys
        salt = b64encode(keys.salt)
        self._nonce = self._first.nonce + self._nonce
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, keys.iterations)
        return Challenge(self._server_first)

    def _fail(self, reason: str) -> Failure:
        self._done = True
        self._keys = None
        return Failure(f"SCRAM: {reason}")

    def _take_first(self, message: bytes) -> ServerStep:
        first = parse_client_first(message)
        if self._plus != (first.flag == "p"):
            return self._fail("the channel-binding flag does not fit the mechanism")
        if first.flag == "p" and first.binding not in self._bindings:
            return self._fail("unsupported-channel-binding-type")
        if first.flag == "y" and self._bindings:
            return self._fail("server-does-support-channel-binding")
        self._first = first
        return NeedsScramSecret(first.name, first.authzid, self._hash)

    def _take_final(self, message: bytes, first: ClientFirst, keys: ScramKeys) -> ServerStep:
        found = _match(_CLIENT_FINAL, message)
        self._done = True
        binding = first.header + (self._bindings[first.binding] if first.flag == "p" else b"")
        proof = _decode64(found["proof"])
        if not hmac.compare_digest(_decode64(found["binding"]), binding):
            return self._fail("channel-bindings-dont-match")
        if not hmac.compare_digest(found["nonce"], self._nonce):
            return self._fail("another nonce")
        if len(proof) != len(keys.stored_key):
            return self._fail("invalid-proof")
        auth_message = b"%b,%b,%b" % (first.bare, self._server_first, found["without"])
        client_key = _exclusive_or(proof, hmac.digest(keys.stored_key, auth_message, self._hash))
        verifier = b64encode(hmac.digest(keys.server_key, auth_message, self._hash))
        if not hmac.compare_digest(hashlib.new(self._hash, client_key).digest(), keys.stored_key):
            return self._fail("invalid-proof")
        return Success(first.name, first.authzid, b"v=" + verifier)


class ScramClient:
    """The client's side. With ``plus`` it binds to ``tls-exporter``, or to the only type there is."""

    __slots__ = (
        "_bare", "_binding", "_complete", "_expected", "_hash", "_header", "_nonce", "_password", "_state",
    )  # fmt: skip

    def __init__(
        self,
        authcid: str,
        password: str,
        bindings: ChannelBindings | None = None,
        *,
        plus: bool = False,
        offered_plus: bool = False,
        authzid: str = "",
        nonce: bytes | None = None,
        hash_name: HashName = "sha256",
    ) -> None:
        """``offered_plus``: whether the server announced -PLUS. Raises ValueError for a name SASLprep prohibits."""
        bindings = bindings or {}
        self._hash: HashName = hash_name
        self._binding = b""
        flag = "y" if bindings and not offered_plus else "n"
        if plus:
            if not bindings:
                raise LocalProtocolError("nothing to bind to")
            kind = "tls-exporter" if "tls-exporter" in bindings else next(iter(bindings))
            flag = f"p={kind}"
            self._binding = bindings[kind]
        acting = f"a={_write_name(authzid)}" if authzid else ""
        self._header = f"{flag},{acting},".encode()
        self._nonce = nonce or fresh_nonce()
        self._bare = f"n={_write_name(authcid)},r=".encode() + self._nonce
        self._password = prepared_password(password)
        self._expected = b""
        self._state = 0
        self._complete = False

    def initial(self) -> bytes | None:
        """client-first-message."""
        self._state = 1
        return self._header + self._bare

    def step(self, challenge: bytes) -> bytes:
        """client-final to server-first, nothing to server-final; an empty first challenge asks for client-first."""
        if self._state <= 1 and not challenge:
            return self.initial() or b""
        try:
            if self._state == 1:
                return self._take_first(challenge)
            if self._state == 2:
                return self._take_final(challenge)
        except ParseError as error:
            raise RemoteProtocolError(f"SCRAM: {error}") from error
        raise RemoteProtocolError("SCRAM: a challenge too many")

    @property
    def complete(self) -> bool:
        """True once the server's signature was verified; success before that must not be believed."""
        return self._complete

    def _take_first(self, message: bytes) -> bytes:
        found = _match(_SERVER_FIRST, message)
        nonce, salt, iterations = found["nonce"], _decode64(found["salt"]), int(found["iterations"])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ParseError("the server did not extend the nonce")
        if not MIN_SCRAM_ITERATIONS <= iterations <= MAX_SCRAM_ITERATIONS:
            raise ParseError("the iteration count is not acceptable")
        salted = salted_password(self._password, salt, iterations, self._hash)
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        without = b"c=%b,r=%b" % (b64encode(self._header + self._binding), nonce)
        auth_message = b"%b,%b,%b" % (self._bare, message, without)
        signature = hmac.digest(hashlib.new(self._hash, client_key).digest(), auth_message, self._hash)
        server_key = hmac.digest(salted, b"Server Key", self._hash)
        self._expected = hmac.digest(server_key, auth_message, self._hash)
        self._state = 2
        return b"%b,p=%b" % (without, b64encode(_exclusive_or(client_key, signature)))

    def _take_final(self, message: bytes) -> bytes:
        found = _match(_SERVER_FINAL, message)
        self._state = 3
        if found["error"] is not None:
            raise ParseError("the server refused the proof")
        if not hmac.compare_digest(_decode64(found["verifier"]), self._expected):
            raise ParseError("the server's signature is wrong")
        self._complete = True
        return b""


SCRAM_SHA_1: Final = MechanismSpec(
    "SCRAM-SHA-1", partial(ScramServer, hash_name="sha1"), partial(ScramClient, hash_name="sha1")
)
SCRAM_SHA_1_PLUS: Final = MechanismSpec(
    "SCRAM-SHA-1-PLUS",
    partial(ScramServer, plus=True, hash_name="sha1"),
    partial(ScramClient, plus=True, hash_name="sha1"),
    binds=True,
)
SCRAM_SHA_256: Final = MechanismSpec("SCRAM-SHA-256", ScramServer, ScramClient)
SCRAM_SHA_256_PLUS: Final = MechanismSpec(
    "SCRAM-SHA-256-PLUS", partial(ScramServer, plus=True), partial(ScramClient, plus=True), binds=True
)
