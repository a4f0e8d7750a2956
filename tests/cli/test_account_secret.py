"""``postroom account secret``."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.cli.exits import Exit
from postroom.config.paths import DataDir
from postroom.store.directory import Directory
from tests.cli.commands import Run

ANNA = "anna@example.test"


@pytest.fixture
def anna(run: Run, ready: Path) -> Path:
    done = run("account", "add", ANNA, "--password-stdin", stdin="the login password\n")
    assert done.code == 0
    return ready


def stored(data: Path) -> bytes:
    names = DataDir(data)
    directory = Directory(names.directory, secrets_key=names.shared_secrets_key)
    try:
        return directory.credentials(ANNA).shared_secret()
    finally:
        directory.close()


def test_one_is_made_and_shown_once(run: Run, anna: Path) -> None:
    assert run("account", "secret", "show-status", ANNA).out == f"{ANNA} has no secret\n"
    made = run("account", "secret", "set", ANNA, "--json").json
    assert stored(anna) == made["secret"].encode()
    key = DataDir(anna).shared_secrets_key
    assert key.stat().st_mode & 0o777 == 0o600
    shown = run("account", "secret", "show-status", ANNA)
    assert "has a secret since 20" in shown.out
    assert made["secret"] not in shown.out
    assert run("account", "secret", "show-status", ANNA, "--json").json["since"].endswith("+00:00")
    assert run("account", "secret", "remove", ANNA).code == 0
    assert stored(anna) != made["secret"].encode()
    assert run("account", "secret", "remove", ANNA).code == Exit.NO_ENTRY


def test_one_from_standard_input(run: Run, anna: Path) -> None:
    done = run("account", "secret", "set", ANNA, "--secret-stdin", stdin="a secret of its own\n")
    assert done.code == 0
    assert "a secret" not in done.out
    assert stored(anna) == b"a secret of its own"


def test_the_login_password_is_refused(run: Run, anna: Path) -> None:
    done = run("account", "secret", "set", ANNA, "--secret-stdin", stdin="the login password\n")
    assert done.code == Exit.NOT_ALLOWED
    assert "must not be the login password" in done.err
    assert run("account", "secret", "set", "nobody@example.test").code == Exit.NO_ENTRY


def test_where_a_secret_may_come_from(run: Run, anna: Path) -> None:
    both = run("account", "secret", "set", ANNA, "--ask", "--secret-stdin", stdin="a secret of its own\n")
    assert both.code == Exit.USAGE
    nobody_there = run("account", "secret", "set", ANNA, "--ask")
    assert nobody_there.code == Exit.USAGE
    assert "--secret-stdin" in nobody_there.err


def test_a_lost_key_is_told(run: Run, anna: Path) -> None:
    run("account", "secret", "set", ANNA)
    DataDir(anna).shared_secrets_key.unlink()
    done = run("account", "secret", "set", ANNA)
    assert done.code == Exit.UNAVAILABLE
    assert "key of the shared secrets is missing" in done.err


def test_the_key_may_be_elsewhere(
    run: Run, anna: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_AUTH_SHARED_SECRETS_KEY", str(tmp_path / "elsewhere"))
    assert run("account", "secret", "set", ANNA).code == 0
    assert (tmp_path / "elsewhere").stat().st_size == 32
    assert not DataDir(anna).shared_secrets_key.exists()
