"""The metrics of a process tree, and the registry that sums them up.

Invariants: ``prepare`` runs in the parent before anything imports ``prometheus_client``: the library decides at import
whether values live in shared files. Labels are few and never name a person.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge


def prepare(folder: Path) -> None:
    """Empty ``folder`` and have every process of this tree keep its values there. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def collecting_registry() -> CollectorRegistry:
    """A registry that sums the values of all processes, the dead ones' counters included."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class ServiceMetrics:
    """What services, authentication and delivery report; one per worker. Implements ``net.listeners.Meter``."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge

        self._connections = Counter("postroom_connections", "Connections accepted", ["protocol"])
        self._refused = Counter("postroom_connections_refused", "Connections over a limit", ["protocol"])
        self._errors = Counter("postroom_internal_errors", "Internal errors logged", ["protocol"])
        self._open = Gauge(
            "postroom_connections_open", "Connections open now", ["protocol"], multiprocess_mode="livesum"
        )
        self._children: dict[str, tuple[Counter, Gauge]] = {}
        self._changes = Counter("postroom_store_changes", "Changes of accounts that were committed")
        self._store_failed = Gauge(
            "postroom_store_failed",
            "1 when a store has stopped acknowledging after an I/O error",
            multiprocess_mode="livemax",
        )

        self._collections = Counter(
            "postroom_collections", "Runs of collecting from other servers", ["result"]
        )
        self._collected = Counter("postroom_collected_messages", "Messages collected from other servers")
        self._collected_octets = Counter("postroom_collected_octets", "Octets collected from other servers")

    def collected(self, messages: int, octets: int, result: str) -> None:
        """A source was collected from; ``result`` is ok, problems or failed."""
        self._collections.labels(result).inc()
        self._collected.inc(messages)
        self._collected_octets.inc(octets)

    def opened(self, protocol: str) -> None:
        """A connection was accepted."""
        accepted, now_open = self._of(protocol)
        accepted.inc()
        now_open.inc()

    def closed(self, protocol: str) -> None:
        """A connection ended."""
        self._of(protocol)[1].dec()

    def _of(self, protocol: str) -> tuple[Counter, Gauge]:
        """The two values every connection changes: looking a label up costs more than counting."""
        found = self._children.get(protocol)
        if found is None:
            found = self._connections.labels(protocol), self._open.labels(protocol)
            self._children[protocol] = found
        return found

    def refused(self, protocol: str) -> None:
        """A connection was over a limit."""
        self._refused.labels(protocol).inc()

    def error(self, protocol: str) -> None:
        """An internal error was logged."""
        self._errors.labels(protocol).inc()

    def changed(self) -> None:
        """An account changed."""
        self._changes.inc()

    def store_failed(self, failed: bool) -> None:
        """Whether this worker's store has latched."""
        self._store_failed.set(1 if failed else 0)
