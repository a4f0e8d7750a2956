"""PLAIN (RFC 4616): one message with everything in it.

Invariants: strict UTF-8, exactly two NUL, each part at most 255 octets.
"""

from __future__ import annotations

from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.sasl.api import (
    Challenge,
    ChannelBindings,
    Failure,
    MechanismSpec,
    NeedsPassword,
    ServerStep,
)

MAX_PART = 255
"""RFC 4616 §2 asks for at least 255 octets in each part; nothing needs more."""


def parse_plain(message: bytes) -> tuple[str, str, str]:
    """``[authzid] NUL authcid NUL passwd`` (RFC 4616 §2). Raises ParseError."""
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise ParseError("not three parts")
    if any(len(part) > MAX_PART for part in parts):
        raise ParseError("a part is too long")
    try:
        authzid, authcid, password = (part.decode() for part in parts)
    except UnicodeDecodeError as error:
        raise ParseError("not UTF-8") from error
    if not authcid or not password:
        raise ParseError("an empty name or password")
    return authzid, authcid, password


def write_plain(authzid: str, authcid: str, password: str) -> bytes:
    """The message of RFC 4616 §2. Raises LocalProtocolError for a NUL inside a part."""
    if "\0" in authzid + authcid + password:
        raise LocalProtocolError("NUL in a name or password")
    return f"{authzid}\0{authcid}\0{password}".encode()


class PlainServer:
    """The server's side of PLAIN."""

    __slots__ = ("_done",)

    def __init__(self, _bindings: ChannelBindings | None = None) -> None:
        self._done = False

    def step(self, response: bytes | None) -> ServerStep:
        """An empty challenge when there was no initial response, then the one message."""
        if self._done:
            raise LocalProtocolError("the exchange is over")
        if response is None:
            return Challenge(b"")
        self._done = True
        try:
            authzid, authcid, password = parse_plain(response)
        except ParseError as error:
            return Failure(f"PLAIN: {error}")
        return NeedsPassword(authcid, password, authzid)

    def secret(self, _keys: object) -> ServerStep:
        """Never asked for."""
        raise LocalProtocolError("PLAIN asks for no secret")


class PlainClient:
    """The client's side of PLAIN."""

    __slots__ = ("_message",)

    def __init__(
        self, authcid: str, password: str, _bindings: ChannelBindings | None = None, authzid: str = ""
    ) -> None:
        self._message = write_plain(authzid, authcid, password)

    def initial(self) -> bytes | None:
        """Everything."""
        return self._message

    def step(self, _challenge: bytes) -> bytes:
        """The message, for a server that asked with an empty challenge first."""
        return self._message

    @property
    def complete(self) -> bool:
        """PLAIN does not authenticate the server: TLS does."""
        return True


PLAIN = MechanismSpec("PLAIN", PlainServer, PlainClient, reveals_password=True)
