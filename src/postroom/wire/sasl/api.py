"""What SASL mechanisms (RFC 4422) have in common: steps, without knowing the protocol that carries them.

Purpose: a mechanism turns responses into steps (server) or challenges into responses (client). It never looks anything
up: it asks with NeedsPassword or NeedsScramSecret, and whoever drives it answers.

Invariants: one object serves one exchange; after Success or Failure every further call is a LocalProtocolError.
Octets are the decoded ones: base64 belongs to the protocol. Nothing here keeps or shows a password in its repr.

It must not know: directories, protocols, clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol, runtime_checkable

from postroom.model.credentials import HashName, ScramKeys

MAX_RESPONSE: Final = 12_288
"""Octets of base64 a server takes in one AUTH line or response; sessions refuse longer ones before decoding."""


@dataclass(slots=True, frozen=True)
class Challenge:
    """Send these octets to the client and give its response to ``step``."""

    octets: bytes


@dataclass(slots=True, frozen=True)
class NeedsPassword:
    """Verify ``password`` for ``authcid``; the mechanism has no further say. ``authzid`` is empty or who to act as."""

    authcid: str
    password: str = field(repr=False)
    authzid: str = ""


@dataclass(slots=True, frozen=True)
class NeedsScramSecret:
    """Look up the keys of ``authcid`` and give them to ``secret``; unknown users get stable fake ones."""

    authcid: str
    authzid: str = ""
    hash_name: HashName = "sha256"


@dataclass(slots=True, frozen=True)
class NeedsSharedSecret:
    """Look up the shared secret of ``authcid`` and give it to ``secret``; who has none gets a fake one, unknown to all."""

    authcid: str


@dataclass(slots=True, frozen=True)
class NeedsToken:
    """Verify a bearer token; if it is good the mechanism has no further say, if not the reason goes to ``refused``.

    ``authzid`` is who the client says it is; empty leaves it to the token.
    """

    authzid: str
    token: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class NeedsCertificate:
    """Find who the client's certificate belongs to; the mechanism has no further say (RFC 4422 appendix A)."""

    authzid: str


@dataclass(slots=True, frozen=True)
class Success:
    """The client has proved to be ``authcid``. ``octets`` is additional data with success (RFC 4422 §3.6), which
    protocols without a place for it send as a last challenge that the client answers with an empty response."""

    authcid: str
    authzid: str = ""
    octets: bytes | None = None


@dataclass(slots=True, frozen=True)
class Failure:
    """Refused; ``reason`` is for the log only."""

    reason: str


ServerStep = (
    Challenge
    | NeedsPassword
    | NeedsScramSecret
    | NeedsSharedSecret
    | NeedsToken
    | NeedsCertificate
    | Success
    | Failure
)

ChannelBindings = Mapping[str, bytes]
"""Channel-binding data by type name (RFC 5929, RFC 9266), such as ``tls-exporter``; empty in clear."""


class ServerMechanism(Protocol):
    """The server's side of one exchange."""

    def step(self, response: bytes | None, /) -> ServerStep:
        """Take the initial response (None when the client sent none) or the answer to the last Challenge."""

    def secret(self, secret: ScramKeys | bytes, /) -> ServerStep:
        """Answer to NeedsScramSecret (keys) or NeedsSharedSecret (octets)."""


@runtime_checkable
class TokenMechanism(ServerMechanism, Protocol):
    """A mechanism that tells the client why its token was refused (RFC 7628 §3.2.2)."""

    def refused(self, word: str, scope: str = "", configuration: str = "") -> ServerStep:
        """Answer to NeedsToken, with the ``word`` of RFC 6750 §3.1, the scope that is asked for and the address of the issuer's
        configuration, if any: a JSON object as the last challenge."""


class ClientMechanism(Protocol):
    """The client's side of one exchange."""

    def initial(self) -> bytes | None:
        """The initial response, or None when the server speaks first."""

    def step(self, challenge: bytes, /) -> bytes:
        """The response to a challenge. Raises RemoteProtocolError when the server must not be trusted."""

    @property
    def complete(self) -> bool:
        """Whether success of the server may be believed (a mutual mechanism has verified the server)."""


class Proof(Enum):
    """What a mechanism proves the client to have."""

    PASSWORD = auto()
    SHARED_SECRET = auto()
    TOKEN = auto()
    CERTIFICATE = auto()
    TICKET = auto()


@dataclass(slots=True, frozen=True)
class MechanismSpec:
    """A row of the registry. ``preference`` is given by the order; ``binds`` says that it needs channel-binding data."""

    name: str
    server: Callable[[ChannelBindings], ServerMechanism]
    client: Callable[[str, str, ChannelBindings], ClientMechanism]
    """Takes authentication identity, password, bindings."""
    binds: bool = False
    reveals_password: bool = False
    """True when the server sees the password itself."""
    proof: Proof = Proof.PASSWORD
    """What the client must have, and a server must be able to check, for the mechanism to be of use."""
