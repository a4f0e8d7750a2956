"""``postroom ban``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from postroom.cli.exits import Exit
from tests.cli.commands import Run


@pytest.mark.usefixtures("ready")
def test_add_list_remove(run: Run) -> None:
    assert run("ban", "list").out.strip() == "none"
    added = run("ban", "add", "192.0.2.9/24", "--for", "2 h", "--reason", "guesses")
    assert added.code == 0
    assert "192.0.2.0/24 until 2" in added.out
    assert run("ban", "add", "2001:db8::7").code == 0
    (one, other) = json.loads(run("ban", "list", "--json").out)
    assert (one["network"], one["reason"]) == ("192.0.2.0/24", "guesses")
    assert one["until"] - one["since"] == 7200
    assert (other["network"], other["until"]) == ("2001:db8::7/128", None)
    assert "guesses" in run("ban", "list").out
    assert run("ban", "remove", "192.0.2.0/24").code == 0
    assert run("ban", "remove", "192.0.2.0/24").code == Exit.NO_ENTRY
    assert "192.0.2" not in run("ban", "list").out


@pytest.mark.usefixtures("ready")
def test_mistakes(run: Run) -> None:
    assert run("ban", "add", "127.0.0.1").code == Exit.NOT_ALLOWED
    assert run("ban", "add", "nowhere").code == Exit.DATA
    assert run("ban", "add", "192.0.2.1", "--for", "soon").code == Exit.USAGE


def test_without_a_data_directory(run: Run, tmp_path: Path) -> None:
    assert not (tmp_path / "data").exists()
    assert run("ban", "list").code != 0
