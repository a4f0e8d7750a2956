"""POP2 on a real server: a listener that is asked for, mail in by SMTP, out by a client written for the test."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer, free_base_port

MESSAGE = b"Subject: for POP2\r\n\r\n.\r\nnot the end\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    base = free_base_port()
    made = LiveServer(tmp_path / "server", base_port=base)
    made.write_config()
    with made.config.open("a") as config:
        config.write(
            f'\n[[listeners]]\nprotocol = "pop2"\naddress = "127.0.0.1"\nport = {base + 109}\ntls = "none"\n'
            'cleartext_auth_cidrs = ["127.0.0.0/8"]\n'
        )
    made.run("init")
    made.run("domain", "add", DOMAIN)
    made.run("account", "add", f"anna@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    made.start()
    yield made
    made.kill()


def test_a_message_is_read_and_deleted(server: LiveServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as smtp:
        smtp.sendmail("a@elsewhere.test", [f"anna@{DOMAIN}"], MESSAGE)
    login = f"HELO anna@{DOMAIN} {PASSWORD.replace(' ', chr(92) + ' ')}\r\n".encode()
    for expected in (1, 0):
        with (
            socket.create_connection(("127.0.0.1", server.base_port + 109), 30) as line,
            line.makefile("rwb") as wire,
        ):
            assert wire.readline() == f"+ POP2 mail.{DOMAIN} server ready\r\n".encode()
            wire.write(login)
            wire.flush()
            assert wire.readline() == b"#%d messages\r\n" % expected
            if expected:
                wire.write(b"READ\r\n")
                wire.flush()
                length = int(wire.readline().split()[0][1:])
                wire.write(b"RETR\r\n")
                wire.flush()
                assert wire.read(length).endswith(MESSAGE)
                wire.write(b"ACKD\r\n")
                wire.flush()
                assert wire.readline() == b"=0 no such message\r\n"
            wire.write(b"QUIT\r\n")
            wire.flush()
            assert wire.readline() == b"+ Bye\r\n"
            assert wire.read() == b""


def test_status_tells_of_the_listener(server: LiveServer) -> None:
    assert "POP2" in server.run("status").stdout
