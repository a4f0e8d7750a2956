"""What is measured: each row is a function that plays a load on one server and returns a figure.

A row says which service it needs, in which unit its figure is, whether more is better, and what postroom should reach against the
best of the others. Rows leave a server able to play the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.load import Load
from bench.server import Server


@dataclass(slots=True, frozen=True)
class Figure:
    """One measurement of one server: the value in the row's unit, CPU milliseconds of the server for each operation."""

    value: float
    cpu_ms: float | None = None


@dataclass(slots=True)
class Bench:
    """What rows share: the load generator, files with messages, how much to do (1.0 is everything), what was prepared where."""

    load: Load
    folder: Path
    scale: float
    prepared: set[tuple[str, str]]
    turns: Counter[tuple[str, str]] = field(default_factory=Counter)

    def loops(self, wanted: int, least: int = 1) -> int:
        """So many, or fewer on a quick run."""
        return max(least, int(wanted * self.scale))

    def turn(self, server: Server, what: str) -> int:
        """0, 1, 2 ... each time this is asked for this server."""
        key = (server.name, what)
        self.turns[key] += 1
        return self.turns[key] - 1

    @contextmanager
    def once(self, server: Server, what: str) -> Iterator[bool]:
        """True until what is done within has come to its end once for this server."""
        key = (server.name, what)
        yield key not in self.prepared
        self.prepared.add(key)


@dataclass(slots=True, frozen=True)
class Row:
    """A line of the table. ``goal`` is the ratio to the best other server, None where there is none to compare."""

    name: str
    service: str
    unit: str
    measure: Callable[[Bench, Server], Figure]
    goal: float | None = None
    more_is_better: bool = True
    alone: bool = False
    """Measured for postroom only."""
    once: bool = False
    """Measured in the first round only."""


BOX: Final = 10_000
"""Messages in the large mailbox."""
CONNECTIONS: Final = 16
ENOUGH: Final = 2.5
"""Seconds after which a rate is known: slow servers do less."""
