"""The measuring of growth, on sizes that take no time."""

from __future__ import annotations

import imaplib
import shutil
from pathlib import Path

import pytest
from bench.crowd import serving
from bench.growth import Growth, Point, arguments, fill, rounds, table
from bench.growth import _rows as rows_of
from bench.load import Load
from bench.rows import Figure
from bench.server import DOMAIN, PASSWORD


def test_the_last_column_compares_the_ends() -> None:
    def nothing(_load: Load, _point: Point, _loops: int) -> Figure:
        raise AssertionError("nothing is measured here")

    row = Growth("work", nothing, 1, {10: [Figure(1, 0.5), Figure(3, 0.5)], 20: [Figure(4, 1.0)]})
    lines = table([row], (10, 20), "messages", "today").splitlines()
    assert lines[2:] == [
        "| work | 10 messages | 20 messages | CPU, last / first |",
        "|---|---:|---:|---:|",
        "| work | 2.00, 0.50 | 4.00, 1.00 | 2.0 |",
    ]


def test_arguments() -> None:
    assert arguments(["--quick", "--only", "accounts"]).only == "accounts"
    with pytest.raises(SystemExit):
        arguments(["--only", "mailboxes"])


@pytest.mark.slow
def test_every_row_on_a_small_server(tmp_path: Path) -> None:
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("no C compiler for the load generator")
    load = Load(tmp_path)
    rows = rows_of(0.001)
    with serving(2, workers=1) as server:
        fill(load, server, 0, 30)
        with imaplib.IMAP4("127.0.0.1", server.ports["imap"]) as client:
            client.login(f"u0@{DOMAIN}", PASSWORD)
            assert client.select() == ("OK", [b"30"])
        rounds(load, rows, [Point(server, 30, (0,)), Point(server, 2, (0, 1))], 1)
    for row in rows:
        assert all(row.median(size).value > 0 for size in (30, 2))
