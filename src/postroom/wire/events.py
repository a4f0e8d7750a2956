"""What every engine has in common: its verbs and its two sentinels.

Verbs of every connection object, server and client: ``receive_data(octets)`` (empty for end of input), ``next_event()``,
``send(message)``, ``data_to_send()``, ``next_deadline()``, ``handle_deadline(now)``.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, Protocol, TypeVar

from postroom.wire.output import Chunk


class Sentinel(Enum):
    """Instead of an event."""

    NEED_DATA = "need data"
    """Nothing more can be read from what has been received."""
    PAUSED = "paused"
    """Our own side must move first (answer the event that was given out)."""


NEED_DATA: Final = Sentinel.NEED_DATA
PAUSED: Final = Sentinel.PAUSED
NeedData = Literal[Sentinel.NEED_DATA]
Paused = Literal[Sentinel.PAUSED]

E_co = TypeVar("E_co", covariant=True)


class Engine(Protocol[E_co]):
    """The half of an engine that a driver uses; ``send`` is the session's half and differs by protocol."""

    def receive_data(self, data: bytes) -> None:
        """Take octets from the peer; ``b""`` says that no more will come."""

    def next_event(self) -> E_co | Sentinel:
        """The next event, NEED_DATA or PAUSED. Raises RemoteProtocolError (client engines)."""

    def data_to_send(self) -> list[Chunk]:
        """Take the waiting output: octets and BlobSlices in order; empty when there is none."""

    @property
    def output_size(self) -> int:
        """Octets waiting to be sent (slices counted by their length)."""

    @property
    def closing(self) -> bool:
        """True when the connection is to be closed after the waiting output has been sent."""

    def next_deadline(self) -> float | None:
        """When ``handle_deadline`` must be called, on the clock of its ``now``, or None."""

    def handle_deadline(self, now: float) -> None:
        """Tell the time, in seconds on a monotonic clock. An engine learns the time only here: the driver calls it right
        after creation, after each read, and when a deadline is due; an overdue one ends the session in the protocol's words."""
