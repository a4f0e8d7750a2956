"""Tables of commands by states, written down by hand, as transcripts: one for each cell.

A table is a file with sections that begin with ``== name``:

    == words            word, and the steps of its answer with `` | `` between
    == places           where a connection can be, and the steps that prove it
    == state name: place            a column: a transcript that leads to it, and where a connection stays
    == state name: place, always word    the same for every command: no column of the table
    == table            a line of names, then a line for each command with its cells: word, or word>place

Lines beginning with ``#`` and empty ones in words, places and table are for readers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.transcripts.harness import HERE, Case, parse

_SECTION: Final = re.compile(r"^== (.+)$", re.MULTILINE)
_STATE: Final = re.compile(r"state (?P<name>\w+): (?P<place>\w+)(?:, always (?P<word>[\w-]+))?")


@dataclass
class State:
    """A column."""

    name: str
    place: str
    always: str | None
    lead: str
    """The transcript up to here."""


@dataclass
class Matrix:
    """One table."""

    path: Path
    words: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """Cells by command and state."""

    def keywords(self) -> set[str]:
        """Of all commands."""
        return {line.split()[0] for line in self.rows}

    def case(self, line: str, state: str) -> Case:
        """The transcript of one cell."""
        word, _, place = self.rows[line][state].partition(">")
        column = self.states[state]
        steps = [column.lead, f"C: {line}", *self.words[word], *self.places[place or column.place]]
        return parse("\n".join(steps) + "\n", self.path.with_name(f"{self.path.stem}: {line} in {state}"))

    def cases(self, line: str) -> Iterator[Case]:
        """The transcripts of a row."""
        for state in self.states:
            yield self.case(line, state)


def load_matrix(name: str) -> Matrix:
    """Read a table. Raises ValueError for a word, a place or a state that is not explained, and for a missing cell."""
    matrix = Matrix(HERE / "matrix" / f"{name}.txt")
    parts = _SECTION.split(matrix.path.read_text(encoding="utf-8"))
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title == "words":
            matrix.words = _explained(body)
        elif title == "places":
            matrix.places = _explained(body)
        elif title == "table":
            _read_rows(matrix, body)
        else:
            found = _STATE.fullmatch(title)
            if found is None:
                raise ValueError(f"{matrix.path}: == {title}")
            # A transcript's header has no comments, and nothing before it.
            lead = "\n".join(each for each in body.splitlines() if not each.startswith("#")).lstrip("\n")
            state = State(found["name"], found["place"], found["word"], "title: matrix\n" + lead.rstrip("\n"))
            matrix.states[state.name] = state
    _check(matrix)
    return matrix


def _lines(body: str) -> Iterator[str]:
    return (line for line in body.splitlines() if line.strip() and not line.startswith("#"))


def _explained(body: str) -> dict[str, list[str]]:
    found = {}
    for line in _lines(body):
        word, _, steps = line.partition(" ")
        found[word] = steps.strip().split(" | ")
    return found


def _read_rows(matrix: Matrix, body: str) -> None:
    lines = _lines(body)
    names = [each.strip() for each in next(lines).split("|")][1:]
    always = {state.name: state.always for state in matrix.states.values() if state.always is not None}
    for line in lines:
        command, *cells = (each.strip() for each in line.split("|"))
        if len(cells) != len(names) or command in matrix.rows:
            raise ValueError(f"{matrix.path}: {command}: {len(cells)} cells, or twice")
        matrix.rows[command] = dict(zip(names, cells, strict=True)) | always


def _check(matrix: Matrix) -> None:
    for line, cells in matrix.rows.items():
        if set(cells) != set(matrix.states):
            raise ValueError(f"{matrix.path}: {line}: states {sorted(set(cells) ^ set(matrix.states))}")
        for cell in cells.values():
            word, _, place = cell.partition(">")
            if word not in matrix.words or (place and place not in matrix.places):
                raise ValueError(f"{matrix.path}: {line}: {cell}")
