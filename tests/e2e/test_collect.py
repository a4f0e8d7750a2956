"""``postroom collect`` between two real servers, over TLS, by POP3 and IMAP; and a process that is killed in the middle."""

from __future__ import annotations

import hashlib
import imaplib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer

COUNT = 40


def message(number: int) -> bytes:
    """One of many, each different, with lines that need stuffing."""
    return f"Subject: number {number}\r\nX-Kind: {'spam' if number % 10 == 0 else 'ham'}\r\n\r\n.\r\n..{number}\r\n".encode()


def make(root: Path, extra: str = "") -> LiveServer:
    server = LiveServer(root, extra_config=extra, workers=1)
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.run("account", "add", f"anna@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    return server


@pytest.fixture
def there(tmp_path: Path) -> Iterator[LiveServer]:
    """The server mail is fetched from."""
    server = make(tmp_path / "there")
    server.start()
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as smtp:
        for number in range(COUNT):
            smtp.sendmail("a@elsewhere.test", [f"anna@{DOMAIN}"], message(number))
    yield server
    server.kill()


def here(tmp_path: Path, there: LiveServer, settings: str) -> LiveServer:
    """The server that fetches; ``settings`` of its one source."""
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    server = make(tmp_path / "here")
    with server.config.open("a") as config:
        config.write(
            f'\n[[collect]]\nname = "old"\naccount = "anna@{DOMAIN}"\nhost = "localhost"\nuser = "anna@{DOMAIN}"\n'
            f'password_file = "{password}"\ncertificate_authorities = "{there.data}/tls/cert.pem"\n{settings}'
        )
    return server


def digests(server: LiveServer) -> list[str]:
    """Of every message in INBOX, sorted."""
    folder = server.root / f"out-{time.monotonic_ns()}"
    server.run("export", f"anna@{DOMAIN}", str(folder), "--format", "eml")
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.eml"))


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_everything_comes_over_once(tmp_path: Path, there: LiveServer, protocol: str, tls: str) -> None:
    port = there.port(protocol if tls == "starttls" else protocol + "s")
    server = here(tmp_path, there, f'protocol = "{protocol}"\nport = {port}\ntls = "{tls}"\nkeep = false\n')
    planned = json.loads(server.run("collect", "--dry-run", "--json").stdout)[0]
    assert (planned["listed"], planned["stored"], planned["deleted"]) == (COUNT, COUNT, 0)
    before = digests(there)
    done = server.run("collect")
    assert f"old: fetched {COUNT} messages into anna@{DOMAIN}, {COUNT} deleted over there" in done.stdout
    assert digests(server) == before
    assert digests(there) == []
    assert "fetched 0 messages" in server.run("collect", "old").stdout


def test_flags_and_dates_come_along_by_imap(tmp_path: Path, there: LiveServer) -> None:
    context = ssl.create_default_context(cafile=str(there.data / "tls" / "cert.pem"))
    with imaplib.IMAP4_SSL("localhost", there.port("imaps"), ssl_context=context) as client:
        client.login(f"anna@{DOMAIN}", PASSWORD)
        client.select()
        client.store("3", "+FLAGS", r"(\Seen \Flagged work)")
        client.append("INBOX", r"(\Answered)", '"01-Jan-2001 10:00:00 +0200"', b"Subject: dated\r\n\r\n")
    server = here(tmp_path, there, f'protocol = "imap"\nport = {there.port("imaps")}\nmailbox = "Old/All"\n')
    server.run("collect")
    server.start()
    context = ssl.create_default_context(cafile=str(server.data / "tls" / "cert.pem"))
    try:
        with imaplib.IMAP4_SSL("localhost", server.port("imaps"), ssl_context=context) as client:
            client.login(f"anna@{DOMAIN}", PASSWORD)
            client.select("Old/All")
            assert rb"\Flagged \Seen work" in client.fetch("3", "(FLAGS)")[1][0]  # type: ignore[operator]
            last = client.fetch(str(COUNT + 1), "(FLAGS INTERNALDATE)")[1][0]
            assert isinstance(last, bytes)
            assert rb"\Answered" in last
            assert b'" 1-Jan-2001 10:00:00 +0200"' in last
    finally:
        server.kill()


def test_what_is_not_wanted_and_what_fails(tmp_path: Path, there: LiveServer) -> None:
    server = here(tmp_path, there, f'port = {there.port("pop3s")}\nleave_out = ["x-kind: SPAM"]\n')
    report = json.loads(server.run("collect", "--json").stdout)[0]
    assert (report["stored"], report["filtered"], report["error"]) == (COUNT - 4, 4, "")
    assert server.run("collect", "odl", check=False).returncode == 66 + 1
    there.stop()
    failed = server.run("collect", check=False)
    assert failed.returncode == 69
    assert "old: connecting to localhost" in failed.stderr


def test_a_running_server_does_the_writing(tmp_path: Path, there: LiveServer) -> None:
    server = here(tmp_path, there, f"port = {there.port('pop3s')}\n")
    server.start()
    try:
        assert f"fetched {COUNT} messages" in server.run("collect").stdout
    finally:
        server.kill()
    assert digests(server) == digests(there)


@pytest.mark.parametrize("seed", range(2))
def test_killed_in_the_middle(tmp_path: Path, there: LiveServer, seed: int) -> None:
    server = here(tmp_path, there, f"port = {there.port('pop3s')}\nkeep = false\n")
    before = digests(there)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    for attempt in range(30):
        process = subprocess.Popen(
            [*server.program, "collect", "--config", str(server.config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        time.sleep(0.55 + 0.03 * ((seed * 7 + attempt * 3) % 16))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert set(digests(server)) | set(digests(there)) == set(before), "lost"
    server.run("collect")
    assert digests(server) == before
    assert digests(there) == []


def test_multidrop_by_envelope_fields(tmp_path: Path, there: LiveServer) -> None:
    server = here(
        tmp_path,
        there,
        f'port = {there.port("pop3s")}\nmultidrop = ["Delivered-To", "X-Original-To"]\nmailbox = "Rest"\n',
    )
    server.run("account", "add", f"bert@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    server.run("alias", "add", f"sales@{DOMAIN}", f"bert@{DOMAIN}")
    cases = (
        (f"Delivered-To: anna@{DOMAIN}", "INBOX or Rest"),
        (f"Delivered-To: <bert@{DOMAIN.upper()}>", "bert"),
        (f"Delivered-To: box@isp.test\r\nX-Original-To: sales@{DOMAIN}", "bert"),
        (f"delivered-to: nobody@{DOMAIN}\r\nTo: bert@{DOMAIN}", "rest"),
        ("Delivered-To: bert@elsewhere.test", "rest"),
    )
    with smtplib.SMTP("127.0.0.1", there.port("smtp")) as smtp:
        for number, (fields, _) in enumerate(cases):
            octets = f"{fields}\r\nSubject: dropped {number}\r\n\r\n".encode()
            smtp.sendmail("a@elsewhere.test", [f"anna@{DOMAIN}"], octets)
    report = json.loads(server.run("collect", "--json").stdout)[0]
    assert (report["stored"], report["problems"]) == (COUNT + 5, [])
    folder = tmp_path / "bert"
    server.run("export", f"bert@{DOMAIN}", str(folder), "--format", "eml")
    found = sorted(
        path.read_bytes().partition(b"Subject: ")[2].partition(b"\r\n")[0] for path in folder.rglob("*.eml")
    )
    assert found == [b"dropped 1", b"dropped 2"]
    assert len(digests(server)) == COUNT + 3
    again = json.loads(server.run("collect", "--json").stdout)[0]
    assert (again["stored"], again["known"]) == (0, COUNT + 5)
