"""The command line as a person meets it: outcomes, messages, exit codes; no server and no store needed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from postroom.cli.exits import MEANINGS, Exit, Failed, exit_for
from postroom.cli.init import first_account, make_password
from postroom.cli.reference import reference
from postroom.config.loading import load
from postroom.config.paths import DataDir
from postroom.model import errors
from postroom.store.directory import EntryExists, NoSuchEntry, PasswordRefused
from tests.cli.commands import Run

SOURCE = Path(__file__).parents[2] / "src"
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


# --- init


def test_init_makes_everything_private(run: Run, tmp_path: Path) -> None:
    done = run("init", "--account", "Anna@example.test", "--data-dir", str(tmp_path / "mail"))
    assert done.code == 0
    assert "SHA-256" in done.out
    data = DataDir(tmp_path / "mail")
    for path in [data.root, *data.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    first = first_account(data)
    assert first is not None
    assert first.password in done.out
    assert load(data.config, {}).data_dir == data.root


def test_init_twice_keeps_everything(run: Run, ready: Path) -> None:
    assert run("init", "--account", "anna@example.test").code == 0
    before = {
        path: path.read_bytes() for path in ready.rglob("*") if path.is_file() and path.suffix != ".sqlite"
    }
    assert run("init", "--account", "anna@example.test").code == 0
    assert {path: path.read_bytes() for path in before} == before
    assert [each["name"] for each in run("account", "list", "--json").json] == ["anna@example.test"]


def test_init_goes_on_after_an_interruption(run: Run, ready: Path) -> None:
    """The password was written and the account was not made: the same password is used."""
    secret = "abcde-fghjk-mnpqr-stuvw"
    (ready / "secrets" / "first-account").write_text(f"anna@example.test\n{secret}\n")
    done = run("init", "--account", "anna@example.test")
    assert secret in done.out
    assert run("account", "list", "--json").json[0]["name"] == "anna@example.test"


def test_init_with_a_configuration_of_its_own(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text('data_dir = "there"\nhostname = "mail.example.test"\n')
    assert run("init", "--config", str(config)).code == 0
    assert (tmp_path / "there" / "directory.sqlite").exists()
    assert not (tmp_path / "there" / "postroom.toml").exists()


def test_init_refuses_a_path_too_long_for_sockets(run: Run, tmp_path: Path) -> None:
    done = run("init", "--data-dir", str(tmp_path / ("x" * 120)))
    assert done.code == Exit.CONFIG
    assert "too long" in done.err


# --- finding the configuration


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "-d", "data"),
        ("-d", "data", "status"),
        ("status", "--config=data/postroom.toml"),
        ("status",),
    ],
)
def test_shared_options_stand_anywhere(run: Run, ready: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--json")
    assert done.json["data_dir"] == str(ready)


def test_without_a_configuration_commands_ask_for_one(run: Run) -> None:
    done = run("domain", "list")
    assert done.code == Exit.CONFIG
    assert "postroom init" in done.err


def test_a_data_directory_that_was_not_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "postroom.toml").write_text("")
    done = run("account", "list")
    assert done.code == Exit.CONFIG
    assert "not a data directory yet" in done.err


def test_environment_names_the_configuration(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_CONFIG", str(ready / "postroom.toml"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("domain", "list", "--json").json[0]["name"] == "example.test"


# --- domains, accounts, aliases


def test_domains(run: Run, ready: Path) -> None:
    assert run("domain", "add", "Other.test", "--catch-all", "anna@example.test").code == 0
    assert run("domain", "list", "--json").json == [
        {"name": "example.test", "catch_all": None, "accounts": 0},
        {"name": "other.test", "catch_all": "anna@example.test", "accounts": 0},
    ]
    assert run("domain", "catch-all", "other.test").code == 0
    assert run("domain", "list", "--json").json[1]["catch_all"] is None
    assert run("domain", "add", "other.test").code == Exit.EXISTS
    assert run("domain", "add", "bad_.test").code == Exit.DATA
    assert run("domain", "remove", "other.test").code == 0
    assert run("domain", "remove", "other.test").code == Exit.NO_ENTRY
    assert "example.test" in run("domain", "list").out


def test_aliases_and_senders(run: Run, ready: Path) -> None:
    run("init", "--account", "anna@example.test")
    assert run("alias", "add", "info@example.test", "anna@example.test", "x@elsewhere.test").code == 0
    assert run("alias", "list", "example.test", "--json").json == [
        {"address": "info@example.test", "targets": ["anna@example.test", "x@elsewhere.test"]}
    ]
    assert run("alias", "add", "info@example.test", "anna@example.test").code == Exit.EXISTS
    assert run("alias", "remove", "info@example.test").code == 0
    assert run("alias", "list").out == "none\n"
    assert run("account", "sender", "anna@example.test", "@other.test").code == 0
    assert run("account", "sender", "anna@example.test", "@other.test", "--remove").code == 0
    assert run("account", "sender", "anna@example.test", "@other.test", "--remove").code == Exit.NO_ENTRY


def test_accounts_that_do_not_exist_suggest_one(run: Run, ready: Path) -> None:
    run("init", "--account", "anna@example.test")
    done = run("account", "disable", "ana@example.test")
    assert done.code == Exit.NO_ENTRY
    assert "did you mean anna@example.test?" in done.err


def test_disable_and_enable(run: Run, ready: Path) -> None:
    run("init", "--account", "anna@example.test")
    for command, enabled in (("disable", False), ("enable", True)):
        assert run("account", command, "anna@example.test").code == 0
        assert run("account", "list", "--json").json[0]["enabled"] is enabled


def test_a_changed_password_is_not_shown_any_more(run: Run, ready: Path) -> None:
    run("init", "--account", "anna@example.test")
    assert run("status", "--json").json["listeners"][1]["password"]
    done = run("account", "password", "anna@example.test", "--password-stdin", stdin="a new password\n")
    assert done.code == 0
    assert "a new password" not in done.out + done.err
    submission = run("status", "--json").json["listeners"][1]
    assert (submission["user"], submission["password"]) == ("anna@example.test", None)
    assert "as set" in run("status").out


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (("--password-stdin",), "\n", Exit.DATA),
        (("--password-stdin",), "short\n", Exit.NOT_ALLOWED),
        (("--password-stdin", "--generate"), "", Exit.USAGE),
        ((), "", Exit.USAGE),
    ],
)
def test_bad_passwords(run: Run, ready: Path, arguments: tuple[str, ...], stdin: str, code: int) -> None:
    run("init", "--account", "anna@example.test")
    assert run("account", "password", "anna@example.test", *arguments, stdin=stdin).code == code


# --- status


def test_status_of_a_server_that_does_not_run(run: Run, ready: Path) -> None:
    done = run("status", "--json")
    assert done.code == Exit.FOUND
    assert done.json["running"] is False
    ports = {
        (each["protocol"], each["security"]): each["port"] for each in done.json["listeners"] if each["port"]
    }
    assert ports["imap", "TLS"] == 24993
    assert ports["submission", "STARTTLS"] == 24587
    assert "not running" in run("status").out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 999999999, "listeners": []}'])
def test_a_stale_state_is_not_believed(run: Run, ready: Path, text: str) -> None:
    (ready / "run" / "state.json").write_text(text)
    assert run("status", "--json").json["running"] is False


def test_a_process_of_another_program_is_not_postroom(run: Run, ready: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        state = {"pid": sleeper.pid, "started": 0, "hostname": "x", "listeners": []}
        (ready / "run" / "state.json").write_text(json.dumps(state))
        assert run("status", "--json").json["running"] is False
    finally:
        sleeper.kill()
        sleeper.wait()


# --- config


def test_config_show_is_a_configuration(run: Run, ready: Path, tmp_path: Path) -> None:
    for extra in ((), ("--changed",)):
        shown = tmp_path / "shown.toml"
        shown.write_text(run("config", "show", *extra).out)
        environment = {name: text for name, text in os.environ.items() if name.startswith("POSTROOM_AUTH")}
        assert load(shown, environment) == load(ready / "postroom.toml", environment)


def test_config_show_json(run: Run, ready: Path) -> None:
    shown = run("config", "show", "--json").json
    assert shown["base_port"] == 24000
    assert shown["listeners"][0]["protocol"] == "smtp"


def test_config_check(run: Run, ready: Path, tmp_path: Path) -> None:
    assert run("config", "check").code == 0
    bad = tmp_path / "bad.toml"
    bad.write_text("workers = -1\nhostnam = 'x'\n")
    done = run("config", "check", str(bad))
    assert done.code == Exit.CONFIG
    assert f"{bad}:1: workers" in done.err
    assert 'did you mean "hostname"?' in done.err
    assert [each["line"] for each in run("config", "check", str(bad), "--json").json] == [1, 2]


# --- outcomes


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("domain", "ad"), ("domain", "add"), ("status", "--jsonn")]
)
def test_wrong_command_lines(run: Run, ready: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.code == Exit.USAGE
    assert done.out + done.err


def test_help_and_version(run: Run) -> None:
    assert run("--help").code == 0
    assert "import" in run("--help").out
    assert "--quota" in run("account", "add", "--help").out
    assert run("--version").out.strip() == "0.1.0"


def test_a_bug_is_a_sentence_and_an_exit_code(run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("\x1b[31mboom")

    monkeypatch.setattr("postroom.cli.domain.open_directory", broken)
    done = run("domain", "list")
    assert done.code == Exit.SOFTWARE
    assert "internal error" in done.err
    assert "\x1b" not in done.err
    assert "Traceback" not in done.err


def test_ctrl_c(run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("postroom.cli.domain.open_directory", interrupted)
    assert run("domain", "list").code == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoSuchEntry(), Exit.NO_ENTRY),
        (EntryExists(), Exit.EXISTS),
        (PasswordRefused(), Exit.NOT_ALLOWED),
        (errors.NoSuchMailbox(), Exit.NO_ENTRY),
        (errors.StorageFull(), Exit.UNAVAILABLE),
        (errors.QuotaExceeded(), Exit.UNAVAILABLE),
        (FileNotFoundError(2, "No such file", "x"), Exit.NO_INPUT),
        (OSError(5, "I/O error"), Exit.IO),
        (Failed("x", Exit.TRY_AGAIN), Exit.TRY_AGAIN),
        (ZeroDivisionError(), None),
    ],
)
def test_exit_codes(error: Exception, code: Exit | None) -> None:
    assert exit_for(error) == code


def test_every_exit_code_is_explained() -> None:
    assert set(MEANINGS) == set(Exit)


def test_a_reader_that_has_enough_is_no_error(ready: Path) -> None:
    command = f"{sys.executable} -m postroom config show | head -n 1"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_generated_passwords_differ_and_are_accepted() -> None:
    from postroom.store.directory import check_new_password

    made = {make_password() for _ in range(100)}
    assert len(made) == 100
    for each in made:
        check_new_password(each, "anna@example.test")


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"
