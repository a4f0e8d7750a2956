"""EXTERNAL (RFC 4422 appendix A): the client is who its certificate says; the message only names who to act as.

Invariants: nothing but the connection's own certificate counts, and that is looked up outside; without a certificate the
mechanism is not offered.
"""

from __future__ import annotations

from typing import Final

from postroom.model.credentials import ScramKeys
from postroom.wire.errors import LocalProtocolError
from postroom.wire.sasl.api import (
    Challenge,
    ChannelBindings,
    Failure,
    MechanismSpec,
    NeedsCertificate,
    Proof,
    ServerStep,
)

MAX_NAME: Final = 255


class ExternalServer:
    """The server's side."""

    __slots__ = ("_done",)

    def __init__(self, _bindings: ChannelBindings | None = None) -> None:
        self._done = False

    def step(self, response: bytes | None) -> ServerStep:
        """An empty challenge when there was no initial response, then the authorization identity, perhaps empty."""
        if self._done:
            raise LocalProtocolError("the exchange is over")
        if response is None:
            return Challenge(b"")
        self._done = True
        if len(response) > MAX_NAME or b"\0" in response:
            return Failure("EXTERNAL: an overlong name, or a NUL in it")
        try:
            return NeedsCertificate(response.decode())
        except UnicodeDecodeError:
            return Failure("EXTERNAL: a name that is not UTF-8")

    def secret(self, _secret: ScramKeys | bytes) -> ServerStep:
        """Never asked for."""
        raise LocalProtocolError("EXTERNAL asks for no secret")


class ExternalClient:
    """The client's side; the password is not looked at. An empty name leaves it to the certificate."""

    __slots__ = ("_name",)

    def __init__(
        self, authzid: str = "", _password: str = "", _bindings: ChannelBindings | None = None
    ) -> None:
        self._name = authzid.encode()

    def initial(self) -> bytes | None:
        """The authorization identity."""
        return self._name

    def step(self, _challenge: bytes) -> bytes:
        """The same, for a server that asked with an empty challenge first."""
        return self._name

    @property
    def complete(self) -> bool:
        """TLS has authenticated the server."""
        return True


EXTERNAL: Final = MechanismSpec("EXTERNAL", ExternalServer, ExternalClient, proof=Proof.CERTIFICATE)
