"""curl, swaks and msmtp bring mail in over TLS."""

from __future__ import annotations

import imaplib
import ssl
from pathlib import Path

import pytest

from tests.e2e.conftest import MESSAGE, Account, client, execute, new_account, without_trace

pytestmark = pytest.mark.e2e


def stored(account: Account, mailbox: str = "INBOX") -> list[bytes]:
    """Every message of a mailbox, through imaplib."""
    context = ssl.create_default_context(cafile=str(account.certificate))
    box = imaplib.IMAP4_SSL("localhost", account.server.port("imaps"), ssl_context=context, timeout=60)
    box.login(account.address, account.password)
    box.select(mailbox, readonly=True)
    _, answer = box.fetch("1:*", "(BODY.PEEK[])")
    box.logout()
    return [item[1] for item in answer if isinstance(item, tuple)]


def _message_from(account: Account, to: Account) -> bytes:
    return MESSAGE.replace(b"anna@example.test", account.address.encode()).replace(
        b"bert@example.test", to.address.encode()
    )


@pytest.mark.parametrize(("scheme", "port"), [("smtp", "submission"), ("smtps", "submissions")])
def test_curl_submits(account: Account, tmp_path: Path, scheme: str, port: str) -> None:
    other = new_account(account.server)
    message = _message_from(account, other)
    body = tmp_path / "message"
    body.write_bytes(message)
    execute(
        [
            client("curl"), "--silent", "--show-error", "--ssl-reqd", "--cacert", str(account.certificate),
            "--url", f"{scheme}://localhost:{account.server.port(port)}/client.example.test",
            "--user", f"{account.address}:{account.password}",
            "--mail-from", account.address, "--mail-rcpt", other.address, "--upload-file", str(body),
        ]
    )  # fmt: skip
    assert [without_trace(one, message) for one in stored(other)] == [message]


def test_curl_delivers_without_authentication_to_a_local_user(account: Account, tmp_path: Path) -> None:
    body = tmp_path / "message"
    body.write_bytes(MESSAGE)
    execute(
        [
            client("curl"), "--silent", "--show-error", "--url", f"smtp://localhost:{account.server.port('smtp')}/x.test",
            "--mail-from", "someone@elsewhere.test", "--mail-rcpt", account.address, "--upload-file", str(body),
        ]
    )  # fmt: skip
    assert [without_trace(one) for one in stored(account)] == [MESSAGE]


def test_swaks_with_starttls_and_without_authentication(account: Account) -> None:
    execute(
        [
            client("swaks"), "--server", "localhost", "--port", str(account.server.port("smtp")), "--tls",
            "--from", "someone@elsewhere.test", "--to", account.address, "--ehlo", "client.elsewhere.test",
            "--header", "Subject: from swaks", "--body", "hello from swaks",
        ]
    )  # fmt: skip
    (message,) = stored(account)
    assert b"Subject: from swaks\r\n" in message
    assert b"hello from swaks\r\n" in message
    assert b"with ESMTPS" in message


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_authenticates(account: Account, mechanism: str) -> None:
    other = new_account(account.server)
    execute(
        [
            client("swaks"), "--server", "localhost", "--port", str(account.server.port("submission")), "--tls",
            "--auth", mechanism, "--auth-user", account.address, "--auth-password", account.password,
            "--from", account.address, "--to", other.address, "--ehlo", "client.elsewhere.test",
        ]
    )  # fmt: skip
    (message,) = stored(other)
    assert b"with ESMTPSA" in message


def test_swaks_lmtp(account: Account) -> None:
    execute(
        [
            client("swaks"), "--protocol", "LMTP", "--server", "localhost", "--port", str(account.server.port("lmtp")),
            "--from", "someone@elsewhere.test", "--to", account.address, "--ehlo", "client.elsewhere.test",
        ]
    )  # fmt: skip
    (message,) = stored(account)
    assert b"with LMTP" in message


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
@pytest.mark.parametrize("port", ["submission", "submissions"])
def test_msmtp_submits(account: Account, tmp_path: Path, mechanism: str, port: str) -> None:
    other = new_account(account.server)
    message = _message_from(account, other)
    config = tmp_path / "msmtprc"
    config.write_text(
        f"account default\nhost localhost\nport {account.server.port(port)}\nfrom {account.address}\n"
        f"tls on\ntls_starttls {'on' if port == 'submission' else 'off'}\ntls_trust_file {account.certificate}\n"
        f"auth {mechanism}\nuser {account.address}\npassword {account.password}\nset_date_header off\n"
        "set_msgid_header off\n"
    )
    config.chmod(0o600)
    execute(
        [client("msmtp"), f"--file={config}", other.address],
        stdin=message.replace(b"\r\n", b"\n"),
        home=tmp_path,
    )
    assert [without_trace(one, message) for one in stored(other)] == [message]
