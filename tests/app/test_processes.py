"""The process tree: ports, locks, restarts of workers, a renewed certificate, what is shared beside a running server."""

from __future__ import annotations

import imaplib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path / "one")
    made.write_config()
    made.run("init")
    made.run("domain", "add", DOMAIN)
    made.run("account", "add", f"anna@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    made.start()
    yield made
    made.kill()


def _children(server: LiveServer) -> set[int]:
    """The worker processes now; none in the moment when all were killed and none is back."""
    assert server.process is not None
    parent = server.process.pid
    return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


def _deliver(server: LiveServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as smtp:
        smtp.sendmail("a@elsewhere.test", [f"anna@{DOMAIN}"], b"Subject: x\r\n\r\nx\r\n")


def _count(server: LiveServer) -> int:
    context = ssl.create_default_context(cafile=str(server.data / "tls" / "cert.pem"))
    box = imaplib.IMAP4_SSL("localhost", server.port("imaps"), ssl_context=context, timeout=60)
    box.login(f"anna@{DOMAIN}", PASSWORD)
    count = int(box.select()[1][0] or 0)
    box.logout()
    return count


def test_ports_of_another_server_are_refused(server: LiveServer, tmp_path: Path) -> None:
    other = LiveServer(tmp_path / "two", base_port=server.base_port)
    other.write_config()
    other.run("init")
    done = other.run("serve", check=False)
    assert done.returncode not in (0, 70)
    assert "cannot listen" in done.stdout + done.stderr


def test_a_second_server_on_the_same_data_is_refused(server: LiveServer) -> None:
    done = server.run("serve", check=False)
    assert done.returncode not in (0, 70)
    assert "running" in done.stdout + done.stderr


def test_workers_that_are_killed_come_back(server: LiveServer) -> None:
    _deliver(server)
    before = _children(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for _ in range(500):
        if len(_children(server) - before) == len(before):
            break
        time.sleep(0.02)
    assert not _children(server) & before
    _deliver(server)
    assert _count(server) == 2


def test_health_and_metrics_tell_of_all_processes(server: LiveServer) -> None:
    _deliver(server)
    base = f"http://127.0.0.1:{server.port('metrics')}"
    with urllib.request.urlopen(f"{base}/healthz", timeout=30) as answer:
        assert json.load(answer)["healthy"] is True
    with urllib.request.urlopen(f"{base}/metrics", timeout=30) as answer:
        assert b'postroom_connections_total{protocol="smtp"}' in answer.read()


def test_a_renewed_certificate_is_served_after_sighup(server: LiveServer) -> None:
    certificate, key = server.data / "tls" / "cert.pem", server.data / "tls" / "key.pem"
    old = ssl.get_server_certificate(("127.0.0.1", server.port("imaps")))
    fresh = server.root / "fresh"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", f"{fresh}.key", "-out", f"{fresh}.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    Path(f"{fresh}.key").replace(key)
    Path(f"{fresh}.pem").replace(certificate)
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    now = [old]
    for _ in range(500):
        now = [ssl.get_server_certificate(("127.0.0.1", server.port("imaps"))) for _ in range(4)]
        if old not in now:
            break
        time.sleep(0.02)
    assert old not in now


def test_ctrl_c_tells_sessions_and_loses_nothing(server: LiveServer) -> None:
    smtp = smtplib.SMTP("127.0.0.1", server.port("smtp"))
    smtp.ehlo()
    _deliver(server)
    assert server.process is not None
    server.process.send_signal(signal.SIGINT)
    code, _ = smtp.getreply()
    assert code == 421
    smtp.close()
    assert server.process.wait(30) == 0
    server.start()
    assert _count(server) == 1
