"""A clean environment, cheap password hashes, and commands run in this process."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from postroom.cli import program
from tests.cli.commands import Done, Run


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("POSTROOM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    # Cheap hashes: these tests are about the command line.
    monkeypatch.setenv("POSTROOM_AUTH_ARGON2_MEMORY", str(8 * 1024 * 1024))
    monkeypatch.setenv("POSTROOM_AUTH_ARGON2_TIME", "1")
    monkeypatch.setenv("POSTROOM_AUTH_SCRAM_ITERATIONS", "4096")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = program.run(arguments)
        captured = capsys.readouterr()
        return Done(int(code), captured.out, captured.err)

    return command


@pytest.fixture
def ready(run: Run, tmp_path: Path) -> Path:
    """A data directory with a domain, in the place where commands look for one."""
    assert run("init", "--domain", "example.test", "--base-port", "24000").code == 0
    return tmp_path / "data"
