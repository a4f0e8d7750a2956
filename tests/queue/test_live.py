"""Two real servers: what a user submits to one leaves through its queue and arrives at the other, over verified TLS."""

from __future__ import annotations

import poplib
import smtplib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer

FAR = "elsewhere.test"
MESSAGE = (
    f"From: anna@{DOMAIN}\r\nTo: bert@{FAR}\r\nSubject: across\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
    f"Message-ID: <one@{DOMAIN}>\r\n\r\n.dot\r\n..\r\n8-bit: é\r\n"
).encode()
PATIENCE = 60
pytestmark = pytest.mark.e2e


@pytest.fixture
def far(tmp_path: Path) -> Iterator[LiveServer]:
    """The smarthost, which is also where the mail is read."""
    server = LiveServer(tmp_path / "far", workers=1)
    server.write_config()
    server.run("init")
    server.run("domain", "add", FAR)
    for name in ("bert", "relay"):
        server.run("account", "add", f"{name}@{FAR}", "--password-stdin", stdin=PASSWORD + "\n")
    server.run("account", "sender", f"relay@{FAR}", f"@{DOMAIN}")
    server.start()
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log_text()


def near_server(root: Path, far: LiveServer, port: str, tls: str, trusted: Path) -> LiveServer:
    """A server whose mail for elsewhere goes to ``far``."""
    (root / "near").mkdir()
    secret = root / "near" / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    server = LiveServer(
        root / "near",
        workers=2,
        extra_config=(
            "[queue]\nretry_schedule = [1, 2]\n"
            f'[queue.smarthost]\nhost = "localhost"\nport = {far.port(port)}\ntls = "{tls}"\n'
            f'user = "relay@{FAR}"\npassword_file = "{secret}"\ncertificate_authorities = "{trusted}"\n'
        ),
    )
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.run("account", "add", f"anna@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    return server


def trusting(server: LiveServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.data / "tls" / "cert.pem"))


def submit(server: LiveServer, *recipients: str) -> None:
    with smtplib.SMTP_SSL("localhost", server.port("submissions"), context=trusting(server)) as client:
        client.login(f"anna@{DOMAIN}", PASSWORD)
        client.sendmail(f"anna@{DOMAIN}", recipients, MESSAGE, ["BODY=8BITMIME"])


def wait_for_mail(server: LiveServer, user: str) -> bytes:
    """The only message of a mailbox, as soon as it is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        client = poplib.POP3_SSL("localhost", server.port("pop3s"), context=trusting(server))
        try:
            client.user(user)
            client.pass_(PASSWORD)
            if client.stat()[0]:
                return b"\r\n".join(client.retr(1)[1]) + b"\r\n"
        finally:
            client.quit()
        time.sleep(0.1)
    raise AssertionError(f"no mail for {user}:\n{server.log_text()[-3000:]}")


@pytest.mark.parametrize(("port", "tls"), [("submission", "starttls"), ("submissions", "implicit")])
def test_mail_leaves_and_arrives(far: LiveServer, tmp_path: Path, port: str, tls: str) -> None:
    near = near_server(tmp_path, far, port, tls, far.data / "tls" / "cert.pem")
    near.start()
    submit(near, f"bert@{FAR}")
    octets = wait_for_mail(far, f"bert@{FAR}")
    assert octets.endswith(b"\r\n" + MESSAGE)
    assert octets.startswith(f"Return-Path: <anna@{DOMAIN}>\r\nReceived: from mail.{DOMAIN} ".encode())
    assert octets.count(b"Return-Path:") == 1
    assert octets.count(b" with ESMTPSA id ") == 2
    assert near.stop() == 0
    assert "Traceback" not in near.log_text()
    assert PASSWORD not in near.log_text() + far.log_text()


def test_a_refusal_comes_back_to_the_sender(far: LiveServer, tmp_path: Path) -> None:
    near = near_server(tmp_path, far, "submission", "starttls", far.data / "tls" / "cert.pem")
    near.start()
    submit(near, f"nobody@{FAR}")
    octets = wait_for_mail(near, f"anna@{DOMAIN}")
    assert b"\r\nAction: failed\r\nStatus: 5.1.1\r\n" in octets
    assert octets.startswith(b"Return-Path: <>\r\n")
    assert near.stop() == 0


def test_an_unknown_certificate_keeps_the_mail_until_it_is_trusted(far: LiveServer, tmp_path: Path) -> None:
    """threats T2: nothing is sent to a server that cannot prove its name; a restart with the right setting delivers."""
    trusted = tmp_path / "trusted.pem"
    near = near_server(tmp_path, far, "submission", "starttls", trusted)
    trusted.write_bytes((near.data / "tls" / "cert.pem").read_bytes())
    near.start()
    submit(near, f"bert@{FAR}")
    end = time.monotonic() + PATIENCE
    while "deferred" not in near.log_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert "deferred" in near.log_text()
    assert f"bert@{FAR}" not in far.log_text()
    near.kill()
    trusted.write_bytes((far.data / "tls" / "cert.pem").read_bytes())
    near.start()
    assert wait_for_mail(far, f"bert@{FAR}").endswith(b"\r\n" + MESSAGE)
    assert near.stop() == 0
