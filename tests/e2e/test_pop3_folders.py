"""Folders on POP3, seen by IMAP; what STOR has acknowledged survives kill -9."""

from __future__ import annotations

import imaplib
import poplib
from collections.abc import Iterator

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer, free_base_port

pytestmark = pytest.mark.e2e

ANNA = f"anna@{DOMAIN}"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    base = free_base_port()
    made = LiveServer(tmp_path_factory.mktemp("folders") / "server", base_port=base)
    made.write_config()
    with made.config.open("a") as config:
        for protocol, port, more in (("pop3", 109, "pop3_folders = true\n"), ("imap", 142, "")):
            config.write(
                f'\n[[listeners]]\nprotocol = "{protocol}"\naddress = "127.0.0.1"\nport = {base + port}\n'
                f'{more}cleartext_auth_cidrs = ["127.0.0.0/8"]\n'
            )
    made.run("init")
    made.run("domain", "add", DOMAIN)
    made.run("account", "add", ANNA, "--password-stdin", stdin=PASSWORD + "\n")
    made.start()
    yield made
    made.kill()


def log_in(server: LiveServer) -> poplib.POP3:
    pop = poplib.POP3("127.0.0.1", server.base_port + 109, timeout=60)
    pop.user(ANNA)
    pop.pass_(PASSWORD)
    return pop


def say(pop: poplib.POP3, command: str) -> bytes:
    return bytes(pop._shortcmd(command))  # type: ignore[attr-defined]


def store(pop: poplib.POP3, folder: str, message: bytes) -> bytes:
    assert say(pop, f"STOR {folder}").startswith(b"+OK")
    pop.sock.sendall(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return bytes(pop._getresp())  # type: ignore[attr-defined]


def test_imap_sees_it_and_a_kill_loses_nothing(server: LiveServer) -> None:
    pop = log_in(server)
    assert say(pop, 'CFLD "Tä glich/Post"').startswith(b"+OK")
    message = b"Subject: kept\r\n\r\n.a\r\n..b\r\n"
    assert store(pop, '"Tä glich/Post"', message).startswith(b"+OK Stored as ")
    server.kill()
    pop.close()
    server.start()
    pop = log_in(server)
    assert say(pop, 'SFLD "Tä glich/Post"').startswith(b"+OK 1 messages")
    assert b"\r\n".join(pop.retr(1)[1]) + b"\r\n" == message
    assert say(pop, "FLAG 1 +\\Flagged") == b"+OK 1 (\\Flagged)"
    assert say(pop, "COPY 1 INBOX") == b"+OK 1 messages copied"
    pop.quit()
    with imaplib.IMAP4("127.0.0.1", server.base_port + 142) as box:
        box.login(ANNA, PASSWORD)
        assert box.select("INBOX")[1] == [b"1"]
        _, found = box.fetch("1", "(FLAGS BODY.PEEK[])")
        assert isinstance(found[0], tuple)
        assert b"\\Flagged" in found[0][0]
        assert found[0][1] == message
