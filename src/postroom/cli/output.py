"""What commands print: tables for people, JSON for programs, on standard output; everything else on standard error.

Invariants: JSON output is one document; nothing that came from mail or a peer can act on the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from postroom.config.logging import escape

Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
"""The parameter of commands whose output is data."""


def console(*, error: bool = False) -> Console:
    """A console on the present standard output or error."""
    return Console(file=sys.stderr if error else sys.stdout, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    console().print(escape(text, 4096), markup=False)


def complain(text: str, hint: str = "") -> None:
    """An error, and what could help, on standard error."""
    out = console(error=True)
    out.print(f"[bold red]postroom:[/] {escape_markup(escape(text, 4096))}")
    if hint:
        out.print(f"  {escape_markup(escape(hint, 4096))}")


def print_json(value: Any) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; numbers are set to the right. Without rows it says so."""
    listed = [[*row] for row in rows]
    if not listed:
        say("none")
        return
    table = Table(header_style="bold underline", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        numeric = all(isinstance(row[number], int) and not isinstance(row[number], bool) for row in listed)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(escape_markup(escape(_cell(value))) for value in row))
    out = console()
    out.soft_wrap = False
    if not out.is_terminal:
        out.width = 200
    out.print(table)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def octets(number: int) -> str:
    """A size for people: ``1.2 MB``."""
    size = float(number)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
