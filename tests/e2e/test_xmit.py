"""XTND XMIT on a real server: a mail program that speaks POP3 alone sends, under the rules of submission."""

from __future__ import annotations

import poplib
import ssl
from collections.abc import Iterator

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer, free_base_port

pytestmark = pytest.mark.e2e

ANNA, BERT, CARL = (f"{name}@{DOMAIN}" for name in ("anna", "bert", "carl"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    base = free_base_port()
    made = LiveServer(tmp_path_factory.mktemp("xmit") / "server", base_port=base)
    made.write_config()
    with made.config.open("a") as config:
        config.write(
            f'\n[[listeners]]\nprotocol = "pop3"\naddress = "127.0.0.1"\nport = {base + 109}\ntls = "implicit"\n'
            "pop3_xmit = true\n\n[limits]\nmessage_size = 200000\n"
        )
    made.run("init")
    made.run("domain", "add", DOMAIN)
    for name in (ANNA, BERT, CARL):
        made.run("account", "add", name, "--password-stdin", stdin=PASSWORD + "\n")
    made.start()
    yield made
    made.kill()


def log_in(server: LiveServer, user: str) -> poplib.POP3_SSL:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    pop = poplib.POP3_SSL("127.0.0.1", server.base_port + 109, context=context, timeout=60)
    pop.user(user)
    pop.pass_(PASSWORD)
    return pop


def send(pop: poplib.POP3_SSL, message: bytes) -> bytes:
    assert pop._shortcmd("XTND XMIT").startswith(b"+OK")  # type: ignore[attr-defined]
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    pop.sock.sendall(stuffed + b".\r\n")
    try:
        answer = pop._getresp()  # type: ignore[attr-defined]
    except poplib.error_proto as error:
        return bytes(error.args[0])
    return bytes(answer)


def texts(server: LiveServer, user: str) -> list[bytes]:
    pop = log_in(server, user)
    found = [b"\r\n".join(pop.retr(number)[1]) for number in range(1, pop.stat()[0] + 1)]
    for number in range(1, len(found) + 1):
        pop.dele(number)
    pop.quit()
    return found


def test_it_reaches_everybody_and_hides_blind_copies(server: LiveServer) -> None:
    pop = log_in(server, ANNA)
    message = (
        f"From: Anna <{ANNA}>\r\nTo: bert <{BERT}>\r\nBcc: {CARL},\r\n {ANNA}\r\nSubject: by POP3\r\n\r\n.dot\r\n..\r\n"
    ).encode()
    assert send(pop, message) == b"+OK Message accepted"
    assert pop.noop().startswith(b"+OK")
    pop.quit()
    for user in (ANNA, BERT, CARL):
        (text,) = texts(server, user)
        assert b"Subject: by POP3" in text
        assert b"\r\n.dot\r\n.." in text
        assert b"with POP3 id" in text
        assert b"Date: " in text
        assert b"Bcc" not in text
        assert CARL.encode() not in text


def test_what_submission_refuses(server: LiveServer) -> None:
    for head, why in (
        (f"From: {BERT}\r\nTo: {CARL}", b"addresses of yours"),
        (f"From: {ANNA}\r\nSubject: to nobody", b"No valid recipients"),
        (f"From: {ANNA}\r\nTo: nobody@{DOMAIN}", b"-ERR"),
    ):
        pop = log_in(server, ANNA)
        said = send(pop, head.encode() + b"\r\n\r\nx\r\n")
        assert said.startswith(b"-ERR")
        assert why in said
        assert pop.noop().startswith(b"+OK"), "the session goes on"
        pop.quit()
    pop = log_in(server, ANNA)
    large = f"From: {ANNA}\r\nTo: {BERT}\r\n\r\n".encode() + b"line of text\r\n" * 20_000
    assert send(pop, large).startswith(b"-ERR")
    pop.close()
    assert texts(server, BERT) == texts(server, CARL) == []


def test_what_is_broken_off_is_not_sent(server: LiveServer) -> None:
    pop = log_in(server, ANNA)
    assert pop._shortcmd("XTND XMIT").startswith(b"+OK")  # type: ignore[attr-defined]
    pop.sock.sendall(f"From: {ANNA}\r\nTo: {BERT}\r\n\r\nhalf".encode())
    pop.close()
    assert texts(server, BERT) == []
