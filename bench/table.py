"""The result as a table: medians of the rounds, CPU time, and postroom's ratio to the best of the others."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench.rows import Figure, Row

OURS = "postroom"
_RATIOS = ("CPU ratio", "ratio", "goal")


@dataclass(slots=True)
class Result:
    """One row: the figures of each server by name, and what went wrong with whom."""

    row: Row
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, server: str) -> Figure | None:
        """The middle of the rounds, None when there is none."""
        found = self.figures.get(server, [])
        if not found:
            return None
        spent = [figure.cpu_ms for figure in found if figure.cpu_ms is not None]
        return Figure(
            statistics.median(figure.value for figure in found), statistics.median(spent) if spent else None
        )

    @property
    def ratio(self) -> float | None:
        """How many times better than the best of the others; below 1 is worse. None without any other."""
        ours = self.median(OURS)
        others = [figure.value for name in self.figures if name != OURS and (figure := self.median(name))]
        if ours is None or not others:
            return None
        if self.row.more_is_better:
            return ours.value / max(others)
        return min(others) / ours.value if ours.value > 0 else None

    @property
    def cpu_ratio(self) -> float | None:
        """How many times less CPU time an operation costs than on the cheapest of the others. None when it was not told."""
        spent = {
            name: figure.cpu_ms for name in self.figures if (figure := self.median(name)) and figure.cpu_ms
        }
        ours = spent.pop(OURS, None)
        return min(spent.values()) / ours if ours and spent else None


def heading(cores: Sequence[int], rounds: int) -> str:
    """Where and how it was measured."""
    used = f"cores {', '.join(map(str, cores))}" if cores else f"{os.cpu_count()} cores"
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {used} shared by server and load, Python"
        f" {platform.python_version()}, {rounds} rounds"
    )


def show(results: Sequence[Result], servers: Sequence[str], title: str) -> None:
    """Print it."""
    table = Table(title=title)
    for column in ("work", *servers, *_RATIOS):
        table.add_column(column, justify="left" if column == "work" else "right")
    for result in results:
        table.add_row(*_cells(result, servers))
    console = Console()
    # A file or a pipe has no width of its own.
    (console if console.is_terminal else Console(width=200)).print(table)
    for result in results:
        for server, why in result.failures.items():
            Console(stderr=True).print(f"{result.row.name}: {server}: {why}", markup=False)


def markdown(results: Sequence[Result], servers: Sequence[str], title: str) -> str:
    """The same as a page's table."""
    lines = [
        f"Measured: {title}.\n",
        "| work | " + " | ".join((*servers, *_RATIOS)) + " |",
        "|---|" + "---:|" * (len(servers) + len(_RATIOS)),
    ]
    lines += ["| " + " | ".join(_cells(result, servers)) + " |" for result in results]
    return "\n".join(lines) + "\n"


def insert(page: str, table: str, mark: str = "table") -> str:
    """A page with the table between two marks of that name, or at its end when it has none."""
    begin, end = f"<!-- {mark} -->", f"<!-- end of the {mark} -->"
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n\n{table}\n{end}{rest.partition(end)[2] or chr(10)}"


def as_json(results: Sequence[Result]) -> list[Mapping[str, object]]:
    """Everything that was measured."""
    return [
        {
            "work": result.row.name,
            "unit": result.row.unit,
            "goal": result.row.goal,
            "ratio": result.ratio,
            "cpu_ratio": result.cpu_ratio,
            "servers": {
                name: [{"value": figure.value, "cpu_ms": figure.cpu_ms} for figure in figures]
                for name, figures in result.figures.items()
            },
            "failures": result.failures,
        }
        for result in results
    ]


def _cells(result: Result, servers: Sequence[str]) -> list[str]:
    row = result.row
    cells = [f"{row.name} ({row.unit})"]
    for server in servers:
        figure = result.median(server)
        if figure is None:
            cells.append("failed" if server in result.failures else "")
            continue
        spent = f", {figure.cpu_ms:.2f} ms CPU" if figure.cpu_ms else ""
        cells.append(_number(figure.value) + spent)
    ratios = (result.cpu_ratio, result.ratio)
    cells += ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    cells.append("" if row.goal is None else f"{row.goal:g}")
    return cells


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
