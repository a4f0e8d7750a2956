"""What a protocol consists of, as data: extensions with the rows they add.

Purpose: announcements (CAPABILITY, CAPA, EHLO), tables in the documentation and fuzz dictionaries are made from these records, so
that nothing can be spoken without being announced, or announced without being listed. A protocol gathers them in one explicit
tuple; nothing registers itself on import.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

RowT = TypeVar("RowT")


@dataclass(slots=True, frozen=True)
class Extension(Generic[RowT]):
    """One extension.

    ``name`` is the capability as announced, ``source`` where it is defined, ``rows`` the commands it adds. ``early``: announced
    before authentication too. ``argument``: announced as ``name=argument``, the argument coming from the configuration.
    """

    name: str
    source: str
    rows: tuple[RowT, ...] = ()
    early: bool = False
    argument: bool = False


def gather(core: Iterable[RowT], extensions: Iterable[Extension[RowT]]) -> tuple[RowT, ...]:
    """All rows, those of the core first."""
    rows = list(core)
    for extension in extensions:
        rows.extend(extension.rows)
    return tuple(rows)
