"""Commands beside a running server, and ``postroom run`` from first start to second."""

from __future__ import annotations

import imaplib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from postroom.cli.exits import Exit
from postroom.cli.formats import maildir
from tests.support.live import LiveServer, free_base_port

SOURCE = Path(__file__).parents[2] / "src"
PASSWORD = "correct horse battery"
ANNA = "anna@example.test"


def insecure() -> ssl.SSLContext:
    """What a person does who accepts the self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def subjects(port: int, user: str, password: str) -> list[bytes]:
    with imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=insecure()) as client:
        client.login(user, password)
        client.select("INBOX", readonly=True)
        data: list[Any] = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        return [part[1].strip() for part in data if isinstance(part, tuple)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path / "server")
    live.write_config()
    live.run("init")
    live.run("domain", "add", "example.test")
    live.start()
    yield live
    live.kill()


def test_accounts_made_beside_a_server_can_log_in(server: LiveServer, tmp_path: Path) -> None:
    server.run("account", "add", ANNA, "--password-stdin", stdin=PASSWORD + "\n")
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(150):
        (archive / f"{number:03}.eml").write_bytes(f"Subject: {number}\r\n\r\ntext\r\n".encode())
    (archive / "999.eml").write_bytes(b"Subject: large\r\n\r\n" + b"x" * 76 + b"\r\n" * 100_000)
    assert json.loads(server.run("import", ANNA, str(archive), "--json").stdout)["added"] == 151
    found = subjects(server.port("imaps"), ANNA, PASSWORD)
    assert found == [*(f"Subject: {number}".encode() for number in range(150)), b"Subject: large"]

    server.run("export", ANNA, str(tmp_path / "out"))
    assert len(list((tmp_path / "out" / "cur").iterdir())) == 151
    assert maildir.is_maildir(tmp_path / "out")
    server.run("mailbox", "create", ANNA, "Work")
    listed = json.loads(server.run("mailbox", "list", ANNA, "--json").stdout)
    assert {each["name"]: each["messages"] for each in listed} | {"Work": 0, "INBOX": 151} == {
        each["name"]: each["messages"] for each in listed
    }
    with urllib.request.urlopen(server.status()["metrics"] + "/metrics", timeout=30) as answer:
        assert b'postroom_connections_total{protocol="imap"}' in answer.read()
    server.run("account", "quota", ANNA, "1MB")
    assert json.loads(server.run("account", "list", "--usage", "--json").stdout)[0]["quota"] == 1_000_000


def test_a_disabled_account_and_a_new_password_take_effect_at_once(server: LiveServer) -> None:
    server.run("account", "add", ANNA, "--password-stdin", stdin=PASSWORD + "\n")
    port = server.port("imaps")
    assert subjects(port, ANNA, PASSWORD) == []
    server.run("account", "disable", ANNA)
    with pytest.raises(imaplib.IMAP4.error):
        subjects(port, ANNA, PASSWORD)
    server.run("account", "enable", ANNA)
    server.run("account", "password", ANNA, "--password-stdin", stdin="another good one\n")
    assert subjects(port, ANNA, "another good one") == []
    with pytest.raises(imaplib.IMAP4.error):
        subjects(port, ANNA, PASSWORD)


def test_one_server_on_a_data_directory(server: LiveServer) -> None:
    done = server.run("serve", check=False)
    assert done.returncode == Exit.TRY_AGAIN
    assert "running" in done.stderr
    done = server.run("fsck", check=False)
    assert done.returncode == Exit.TRY_AGAIN
    assert server.status()["running"] is True
    assert server.stop() == 0
    done = server.run("status", "--json", check=False)
    assert done.returncode == Exit.FOUND
    assert json.loads(done.stdout)["running"] is False


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    base = free_base_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 143))
        taken.listen()
        live = LiveServer(tmp_path / "server", base_port=base)
        live.write_config()
        live.run("init")
        done = live.run("serve", check=False)
    assert done.returncode == Exit.SYSTEM
    assert str(base + 143) in done.stderr
    assert "Traceback" not in done.stderr


# --- postroom run


def start_run(directory: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """``postroom run`` in a process group of its own, as a terminal has it; returns it with what it printed when ready."""
    with (directory.parent / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "postroom", "run", "--data-dir", str(directory), *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "POSTROOM_WORKERS": "2"},
        )
    assert process.stdout is not None
    return process, "".join(_until_ready(process.stdout))


def _until_ready(stream: IO[str]) -> Iterator[str]:
    for line in stream:
        yield line
        if "Ctrl-C" in line:
            return


def interrupt(process: subprocess.Popen[str]) -> int:
    """Ctrl-C: SIGINT to the whole group."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        return process.wait(30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_run_sets_up_serves_and_keeps_everything(tmp_path: Path) -> None:
    data, base = tmp_path / "data", free_base_port()
    process, shown = start_run(data, "--base-port", str(base))
    try:
        user, password = (data / "secrets" / "first-account").read_text().split()
        assert password in shown
        for offset in (25, 587, 465, 24, 110, 995, 143, 993):
            assert str(base + offset) in shown
        client = imaplib.IMAP4_SSL("127.0.0.1", base + 993, ssl_context=insecure())
        try:
            client.login(user, password)
            client.append("INBOX", "", imaplib.Time2Internaldate(time.time()), b"Subject: kept\r\n\r\n")
            # An open session is told, and does not keep the server from stopping.
            assert interrupt(process) == 0
            assert any(b"BYE" in line for line in _rest(client))
        finally:
            client.shutdown()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    process, again = start_run(data)
    try:
        assert password in again
        assert str(base + 993) in again
        assert subjects(base + 993, user, password) == [b"Subject: kept"]
    finally:
        assert interrupt(process) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def _rest(client: imaplib.IMAP4) -> list[bytes]:
    """What the server says until it closes."""
    lines = []
    try:
        while line := client.readline():
            lines.append(line)
    except OSError:
        pass
    return lines
