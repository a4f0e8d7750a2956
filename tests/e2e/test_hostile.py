"""Bad input against the real server: each gets a clear answer in the protocol's words, nothing is lost or stored by
half, no traceback, bounded memory. The `mail_server` fixture checks the log and fsck at its end.
"""

from __future__ import annotations

import os
import smtplib
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

import pytest

from tests.e2e.conftest import MESSAGE, Account, new_account, without_trace
from tests.e2e.test_sending_clients import stored
from tests.support.live import DOMAIN, PASSWORD, LiveServer

pytestmark = pytest.mark.e2e

ENDINGS: Final = (
    b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
)  # fmt: skip
"""The smuggling endings of the threat catalogue (S1)."""


class Line:
    """A raw connection that can be read by lines."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self.socket.makefile("rb")

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self) -> bytes:
        return self._file.readline()

    def reply(self) -> bytes:
        """The last line of an SMTP reply, ``b""`` at the end of input."""
        while True:
            line = self.line()
            if line[3:4] != b"-":
                return line

    def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as the end."""
        found = b""
        try:
            while more := self._file.read1(65536):
                found += more
        except ConnectionResetError:
            pass
        return found

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _memory(server: LiveServer) -> int:
    """Octets resident in the largest process of the server."""
    assert server.process is not None
    listed = subprocess.run(
        ["ps", "-o", "rss=", "-g", str(server.process.pid)], capture_output=True, text=True, check=True
    )
    return max(int(line) for line in listed.stdout.split()) * 1024


def _begin(line: Line, account: Account, verb: bytes = b"EHLO") -> None:
    assert line.reply().startswith(b"220")
    line.send(verb + b" client.elsewhere.test\r\n")
    assert line.reply().startswith(b"250")
    line.send(b"MAIL FROM:<someone@elsewhere.test>\r\n")
    assert line.reply().startswith(b"250")
    line.send(b"RCPT TO:<" + account.address.encode() + b">\r\n")
    assert line.reply().startswith(b"250")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("port", ["smtp", "lmtp"])
def test_smuggling_endings_never_make_two_messages(account: Account, ending: bytes, port: str) -> None:
    smuggled = (
        b"MAIL FROM:<forged@elsewhere.test>\r\nRCPT TO:<" + account.address.encode() + b">\r\nDATA\r\n"
        b"Subject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
    )
    with Line(account.server.port(port)) as line:
        _begin(line, account, b"LHLO" if port == "lmtp" else b"EHLO")
        line.send(b"DATA\r\n")
        assert line.reply().startswith(b"354")
        line.send(b"Subject: first\r\n\r\nfirst" + ending + smuggled + b"QUIT\r\n")
        answers = line.rest()
    assert b"Traceback" not in answers
    messages = stored(account)
    assert len(messages) <= 1
    # Either nothing was taken, or one message that holds the rest as text; never a second one.
    assert not any(
        message.count(b"\r\nSubject: ") > 1 or b"\r\nSubject: smuggled" in message[:300]
        for message in messages
    )


@pytest.mark.parametrize(("port", "hello", "command"), [
    ("smtp", b"EHLO x.test\r\n", b"STARTTLS\r\nMAIL FROM:<injected@elsewhere.test>\r\n"),
    ("submission", b"EHLO x.test\r\n", b"STARTTLS\r\nMAIL FROM:<injected@elsewhere.test>\r\n"),
    ("pop3", b"", b"STLS\r\nCAPA\r\n"),
    ("imap", b"", b"a STARTTLS\r\nb CAPABILITY\r\n"),
])  # fmt: skip
def test_commands_behind_starttls_are_never_read(
    mail_server: LiveServer, port: str, hello: bytes, command: bytes
) -> None:
    with Line(mail_server.port(port)) as line:
        if hello:
            assert line.reply().startswith(b"220")
            line.send(hello)
            assert line.reply().startswith(b"250")
        else:
            line.line()
        line.send(command)
        answers = line.rest()
    assert b"b OK" not in answers
    assert b"* CAPABILITY" not in answers
    assert b"CAPA" not in answers.replace(b"Capability", b"")
    assert answers.count(b"\r\n") <= 1


@pytest.mark.parametrize("port", ["smtp", "submission", "lmtp", "pop3", "imap"])
@pytest.mark.parametrize("garbage", [
    b"\0" * 100_000 + b"\r\n",
    b"A" * 300_000,
    b"A" * 300_000 + b"\r\n",
    b"\r\n" * 5_000,
    b"\xff\xfe\r\n" * 200,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 500,
    b"NOOP\n" * 200,
    b"NOOP\r" * 200,
    b"a NOOP " + b"(" * 60_000 + b"\r\n",
    b"a LOGIN {4294967295}\r\n",
    b"a LOGIN {99999999999999999999}\r\n",
    b"a LOGIN {-1}\r\n",
    b"a LOGIN " + b"{1+}\r\nx" * 500 + b"\r\n",
    b"EHLO " + b"x" * 5000 + b"\r\n",
])  # fmt: skip
def test_garbage_is_answered_or_cut_off(mail_server: LiveServer, port: str, garbage: bytes) -> None:
    with Line(mail_server.port(port)) as line:
        line.line()
        try:
            line.send(garbage)
            line.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answers = line.rest()
    assert b"Traceback" not in answers
    assert len(answers) < 2_000_000
    assert b"Internal" not in answers
    assert b"SERVERBUG" not in answers
    with Line(mail_server.port(port)) as line:
        assert line.line()[:3] in (b"220", b"+OK", b"* O")


def test_a_message_over_the_limit_is_refused_and_memory_stays(tmp_path: Path) -> None:
    server = LiveServer(tmp_path, workers=1, extra_config="[limits]\nmessage_size = 2_000_000\n")
    # The table must follow the top-level keys and come before the listeners, as TOML has it.
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.start()
    try:
        account = new_account(server)
        with smtplib.SMTP("127.0.0.1", server.port("smtp")) as smtp:
            smtp.ehlo()
            assert smtp.esmtp_features["size"] == "2000000"
            assert smtp.docmd("MAIL FROM:<a@elsewhere.test> SIZE=2000001")[0] == 552
        before = _memory(server)
        with Line(server.port("smtp")) as line:
            _begin(line, account)
            line.send(b"DATA\r\n")
            assert line.reply().startswith(b"354")
            line.send(b"Subject: big\r\n\r\n")
            block = (b"x" * 70 + b"\r\n") * 1000
            for _ in range(1000):
                line.send(block)
            line.send(b".\r\n")
            assert line.reply().startswith(b"552")
            line.send(b"NOOP\r\n")
            assert line.reply().startswith(b"250")
        assert _memory(server) < before + 20_000_000
        assert stored(account) == []
    finally:
        assert server.stop() == 0
    assert "Traceback" not in server.log_text()


def test_nested_parts_are_stored_and_served_exactly(account: Account) -> None:
    depth = 10_000
    head = b"From: a@elsewhere.test\r\nSubject: nested\r\nMIME-Version: 1.0\r\n"
    body = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (number, number)
        for number in range(depth)
    )
    message = head + body + b"\r\nthe end\r\n"
    with smtplib.SMTP("127.0.0.1", account.server.port("smtp")) as smtp:
        smtp.sendmail("someone@elsewhere.test", [account.address], message)
    assert [without_trace(one, message) for one in stored(account)] == [message]
    with Line(account.server.port("smtp")) as line:
        assert line.reply().startswith(b"220")


def test_half_closed_client_gets_its_reply(account: Account) -> None:
    with Line(account.server.port("lmtp")) as line:
        _begin(line, account, b"LHLO")
        line.send(b"DATA\r\n")
        assert line.reply().startswith(b"354")
        line.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        line.socket.shutdown(socket.SHUT_WR)
        assert line.reply().startswith(b"250")
    assert [without_trace(one) for one in stored(account)] == [MESSAGE]


def test_a_message_cut_off_is_not_stored(account: Account) -> None:
    with Line(account.server.port("smtp")) as line:
        _begin(line, account)
        line.send(b"DATA\r\n")
        assert line.reply().startswith(b"354")
        line.send(MESSAGE)
        line.socket.shutdown(socket.SHUT_WR)
        line.rest()
    assert stored(account) == []


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a tmpfs needs root on Linux"
)
def test_disk_full(tmp_path: Path) -> None:
    """On a tmpfs of a few MiB: a temporary error when it is full, service again when there is room, nothing lost."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        _fill_and_free(disk)
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(disk)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)


def _fill_and_free(disk: Path) -> None:
    server = LiveServer(disk / "postroom", workers=1)
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.run("account", "add", f"full@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    account = Account(server, f"full@{DOMAIN}")
    server.start()
    ballast = disk / "ballast"
    try:
        acknowledged = 1
        _lmtp_send(account, 1)
        with ballast.open("wb") as out:
            try:
                while True:
                    out.write(b"\0" * 65536)
                    out.flush()
            except OSError:
                pass
        refused = False
        for number in range(2, 60):
            code = _lmtp_send(account, number)
            if code == 250:
                acknowledged += 1
            else:
                assert 400 <= code < 500, code
                refused = True
        assert refused, "the disk was not full"
        ballast.unlink()
        code = 0
        for _ in range(100):
            code = _lmtp_send(account, 1000)
            if code == 250:
                break
            time.sleep(0.2)
        assert code == 250, "no service although there is room again"
        assert len(stored(account)) == acknowledged + 1
        assert server.stop() == 0
        assert server.run("fsck", "--deep", check=False).returncode == 0
    finally:
        server.kill()
    assert "Traceback" not in server.log_text()


def _lmtp_send(account: Account, number: int) -> int:
    message = MESSAGE.replace(b"<one@", b"<%d@" % number) + b"x" * 60_000 + b"\r\n"
    try:
        with smtplib.LMTP("127.0.0.1", account.server.port("lmtp")) as lmtp:
            lmtp.ehlo()
            lmtp.docmd("MAIL FROM:<someone@elsewhere.test> BODY=8BITMIME")
            code, _ = lmtp.docmd(f"RCPT TO:<{account.address}>")
            if code != 250:
                return code
            code, _ = lmtp.data(message)
            return code
    except (OSError, smtplib.SMTPException):
        # The worker that met an I/O error ends and is restarted: its connections break without an acknowledgement.
        return 451
