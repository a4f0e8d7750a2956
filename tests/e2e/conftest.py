"""One server for the tests of this folder (one for each test process), and a fresh account for each test."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Final

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer

_numbers = itertools.count(1)

MESSAGE: Final = (
    b"From: Anna <anna@example.test>\r\n"
    b"To: Bert <bert@example.test>\r\n"
    b"Subject: Gr=C3=BC=C3=9Fe\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
    b"Message-ID: <one@example.test>\r\n"
    b"\r\n"
    b"First line\r\n"
    b".leading dot\r\n"
    b"..two dots\r\n"
    b"\r\n"
    b"8-bit: \xc3\xa4\xc3\xb6\xc3\xbc\r\n"
    b"Last line\r\n"
)


@dataclass(frozen=True)
class Account:
    """A login on the server."""

    server: LiveServer
    address: str
    password: str = PASSWORD

    @property
    def certificate(self) -> Path:
        """What a client must trust."""
        return self.server.data / "tls" / "cert.pem"


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    # The corpus holds a message with more hops than the default takes.
    server = LiveServer(tmp_path_factory.mktemp("server"), extra_config="[delivery]\nhop_limit = 500\n")
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.start()
    yield server
    status = server.stop()
    assert status == 0
    assert "Traceback" not in server.log_text()
    fsck = server.run("fsck", "--deep", check=False)
    assert fsck.returncode == 0, fsck.stdout


@pytest.fixture
def account(mail_server: LiveServer) -> Account:
    return new_account(mail_server)


def new_account(server: LiveServer) -> Account:
    """Make an account nobody else uses."""
    address = f"user{next(_numbers)}@{DOMAIN}"
    server.run("account", "add", address, "--password-stdin", stdin=PASSWORD + "\n")
    return Account(server, address)


def client(name: str) -> str:
    """Where a mail client is installed; the test is skipped (a failure under CI) when it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install it to run this test")
    return found


def execute(
    arguments: Sequence[str], *, stdin: bytes | None = None, home: Path | None = None
) -> CompletedProcess[bytes]:
    """Run a client to its end and require success; it sees an empty home directory of its own."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(home or "/nonexistent"),
    }
    done = run(arguments, input=stdin, capture_output=True, timeout=120, env=environment)
    assert done.returncode == 0, (
        f"{' '.join(arguments)}: {done.returncode}\n{done.stdout.decode(errors='replace')}\n"
        f"{done.stderr.decode(errors='replace')}"
    )
    return done


def without_trace(octets: bytes, original: bytes = MESSAGE) -> bytes:
    """What a delivered message is without the trace fields that were put in front of it."""
    at = octets.find(original[: original.find(b"\r\n") + 2])
    assert at > 0
    head = octets[:at]
    assert head.startswith(b"Return-Path: <")
    assert b"\r\nReceived: from " in head
    return octets[at:]
