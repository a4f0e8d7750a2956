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
from typing import Final, Protocol

from postroom.model.credentials import ScramKeys

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


ServerStep = Challenge | NeedsPassword | NeedsScramSecret | Success | Failure

ChannelBindings = Mapping[str, bytes]
"""Channel-binding data by type name (RFC 5929, RFC 9266), such as ``tls-exporter``; empty in clear."""


class ServerMechanism(Protocol):
    """The server's side of one exchange."""

    def step(self, response: bytes | None, /) -> ServerStep:
        """Take the initial response (None when the client sent none) or the answer to the last Challenge."""

    def secret(self, keys: ScramKeys, /) -> ServerStep:
        """Answer to NeedsScramSecret."""


class ClientMechanism(Protocol):
    """The client's side of one exchange."""

    def initial(self) -> bytes | None:
        """The initial response, or None when the server speaks first."""

    def step(self, challenge: bytes, /) -> bytes:
        """The response to a challenge. Raises RemoteProtocolError when the server must not be trusted."""

    @property
    def complete(self) -> bool:
        """Whether success of the server may be believed (a mutual mechanism has verified the server)."""


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
