"""``postroom account app-password``."""

from __future__ import annotations

import json

import pytest

from postroom.cli.exits import Exit
from tests.cli.commands import Run

ANNA = "anna@example.test"


@pytest.mark.usefixtures("ready")
def test_add_list_revoke(run: Run) -> None:
    assert run("account", "add", ANNA, "--password-stdin", stdin="correct horse battery\n").code == 0
    made = run(
        "account",
        "app-password",
        "add",
        ANNA,
        "telephone",
        "--protocol",
        "imap",
        "--expires",
        "90 d",
        "--json",
    )
    assert made.code == 0
    told = json.loads(made.out)
    assert told["protocols"] == ["imap"]
    assert run("account", "app-password", "add", ANNA, "laptop").code == 0
    listed = run("account", "app-password", "list", ANNA, "--json").out
    assert told["password"] not in listed
    assert [each["label"] for each in json.loads(listed)] == ["laptop", "telephone"]
    assert "imap, pop3, submission" in run("account", "app-password", "list", ANNA).out
    assert run("account", "app-password", "add", ANNA, "laptop").code == Exit.EXISTS
    assert run("account", "app-password", "add", ANNA, "x", "--protocol", "ftp").code == Exit.DATA
    assert run("account", "app-password", "add", ANNA, "x", "--expires", "soon").code == Exit.USAGE
    assert run("account", "app-password", "revoke", ANNA, "telephone").code == 0
    assert run("account", "app-password", "revoke", ANNA, "telephone").code == Exit.NO_ENTRY
    assert run("account", "app-password", "list", "nobody@example.test").code == Exit.NO_ENTRY
