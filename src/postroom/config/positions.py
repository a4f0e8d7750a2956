"""Where in a TOML document each key stands.

Purpose: tomllib tells values only; a person who made a mistake wants the line.

Invariants: the document is one that tomllib has accepted, so nothing is checked again here; linear time; a key that is
not found (which would be a bug here) costs a line number and nothing else.

It must not know: settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Path = tuple[str | int, ...]

_BARE_END: Final = frozenset(" \t\r\n.=]#,")
_SPACE: Final = " \t\r\n"


class _Scanner:
    """Walks a valid document once and notes the line of every key and element."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.tables: dict[Path, int] = {}

    # --- steps

    def skip(self, space: str = " \t") -> None:
        """Pass over blanks (and, with ``_SPACE``, newlines and comments)."""
        text, end = self.text, len(self.text)
        while self.at < end:
            here = text[self.at]
            if here in space:
                self.line += here == "\n"
                self.at += 1
            elif here == "#" and "\n" in space:
                self.to_end_of_line()
            else:
                return

    def to_end_of_line(self) -> None:
        """Stop in front of the next newline."""
        found = self.text.find("\n", self.at)
        self.at = len(self.text) if found < 0 else found

    def string(self) -> str:
        """Pass over a quoted string; its text with escapes left as they are (keys hardly ever have any)."""
        text, quote = self.text, self.text[self.at]
        mark = quote * 3 if text.startswith(quote * 3, self.at) else quote
        start = position = self.at + len(mark)
        while True:
            found = text.find(mark, position)
            if found < 0:
                found = len(text)
                break
            slashes = found - len(text[start:found].rstrip("\\")) - start if quote == '"' else 0
            if slashes % 2 == 0:
                break
            position = found + 1
        end = found + len(mark)
        while len(mark) == 3 and text.startswith(
            quote, end
        ):  # up to two quotes may end a multi-line string's text
            end += 1
        self.line += text.count("\n", self.at, end)
        self.at = end
        return text[start:found]

    def key(self) -> Path:
        """Read a possibly dotted key."""
        parts: list[str | int] = []
        while True:
            self.skip()
            if self.text[self.at : self.at + 1] in ('"', "'"):
                parts.append(self.string())
            else:
                start = self.at
                while self.at < len(self.text) and self.text[self.at] not in _BARE_END:
                    self.at += 1
                parts.append(self.text[start : self.at])
            self.skip()
            if self.text[self.at : self.at + 1] != ".":
                return tuple(parts)
            self.at += 1

    def value(self, path: Path) -> None:
        """Pass over a value, noting what is inside it."""
        self.skip()
        match self.text[self.at : self.at + 1]:
            case '"' | "'":
                self.string()
            case "[":
                self.elements(path)
            case "{":
                self.pairs(path)
            case _:
                while self.at < len(self.text) and self.text[self.at] not in ",]}#\r\n":
                    self.at += 1

    def elements(self, path: Path) -> None:
        """Pass over an array."""
        self.at += 1
        number = 0
        while True:
            self.skip(_SPACE)
            if self.text[self.at : self.at + 1] in ("]", ""):
                break
            self.lines[(*path, number)] = self.line
            self.value((*path, number))
            number += 1
            self.skip(_SPACE)
            if self.text[self.at : self.at + 1] != ",":
                break
            self.at += 1
        self.at += 1

    def pairs(self, path: Path) -> None:
        """Pass over an inline table."""
        self.at += 1
        while True:
            self.skip(_SPACE)
            if self.text[self.at : self.at + 1] in ("}", ""):
                break
            self.pair(path)
            self.skip(_SPACE)
            if self.text[self.at : self.at + 1] != ",":
                break
            self.at += 1
        self.at += 1

    def pair(self, path: Path) -> None:
        """Pass over ``key = value``."""
        line = self.line
        full = path + self.key()
        for length in range(len(path) + 1, len(full) + 1):
            self.lines.setdefault(full[:length], line)
        self.at += 1
        self.value(full)

    def header(self) -> Path:
        """Read ``[table]`` or ``[[table]]``; returns the path with the number of the element filled in."""
        repeated = self.text.startswith("[[", self.at)
        self.at += 2 if repeated else 1
        name = self.key()
        path: Path = ()
        for position, part in enumerate(name):
            path = (*path, part)
            last = position == len(name) - 1
            if last and repeated:
                self.tables[path] = self.tables.get(path, -1) + 1
            if path in self.tables:
                self.lines.setdefault(path, self.line)
                path = (*path, self.tables[path])
            self.lines.setdefault(path, self.line)
        self.to_end_of_line()
        return path

    def document(self) -> None:
        """Walk it all."""
        table: Path = ()
        while True:
            self.skip(_SPACE)
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
                self.to_end_of_line()


def key_lines(text: str) -> Mapping[Path, int]:
    """The line, counted from 1, of each key, table and element in a valid TOML document.

    A path holds names and, inside arrays, numbers counted from 0: ``("listeners", 0, "port")``.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines
