"""The collector logs in with access tokens: by OAUTHBEARER before XOAUTH2, inside TLS only, and by nothing else."""

from __future__ import annotations

import ssl
from base64 import b64encode

import pytest

from postroom.collect.imap import ImapMailbox
from postroom.collect.pop3 import Pop3Mailbox
from postroom.collect.remote import Login, RemoteRefused, Security
from postroom.session.transport import TlsInfo
from tests.collect.servers import ScriptedConnection

TLS = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")
LOGIN = Login("anna@a.test", "tok.en", allow_clear=True, token=True)
CONTEXT = ssl.create_default_context()
OAUTHBEARER = b64encode(b"n,a=anna@a.test,\x01auth=Bearer tok.en\x01\x01")
XOAUTH2 = b64encode(b"user=anna@a.test\x01auth=Bearer tok.en\x01\x01")
REFUSAL = b64encode(b'{"status":"invalid_token"}')


@pytest.mark.parametrize(
    ("offered", "name", "message"),
    [(b"PLAIN XOAUTH2 OAUTHBEARER", b"OAUTHBEARER", OAUTHBEARER), (b"XOAUTH2 PLAIN", b"XOAUTH2", XOAUTH2)],
)
async def test_pop3(offered: bytes, name: bytes, message: bytes) -> None:
    connection = ScriptedConnection(
        [
            (b"", b"+OK\r\n"),
            (b"CAPA\r\n", b"+OK\r\nSASL " + offered + b"\r\nUSER\r\n.\r\n"),
            (b"AUTH " + name + b"\r\n", b"+ \r\n"),
            (message + b"\r\n", b"+OK in\r\n"),
        ],
        TLS,
    )
    await Pop3Mailbox.open(connection, LOGIN, Security.IMPLICIT, CONTEXT)
    assert connection.finished


@pytest.mark.parametrize("tls", [TLS, None])
async def test_pop3_shows_a_token_to_nobody_else(tls: TlsInfo | None) -> None:
    offered = b"SASL PLAIN LOGIN" if tls else b"SASL OAUTHBEARER XOAUTH2 PLAIN"
    script = [(b"", b"+OK\r\n"), (b"CAPA\r\n", b"+OK\r\n" + offered + b"\r\nUSER\r\n.\r\n")]
    connection = ScriptedConnection(script, tls)
    with pytest.raises(RemoteRefused) as caught:
        await Pop3Mailbox.open(connection, LOGIN, Security.NONE, CONTEXT)
    assert "neither OAUTHBEARER nor XOAUTH2 is offered inside TLS" in caught.value.private
    assert connection.closed


async def test_imap_and_a_refusal() -> None:
    connection = ScriptedConnection(
        [
            (b"", b"* OK\r\n"),
            (b"A1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\nA1 OK\r\n"),
            (b"A2 AUTHENTICATE XOAUTH2 " + XOAUTH2 + b"\r\n", b"+ " + REFUSAL + b"\r\n"),
            (b64encode(b"\x01") + b"\r\n", b"A2 NO expired\r\n"),
        ],
        TLS,
    )
    with pytest.raises(RemoteRefused) as caught:
        await ImapMailbox.open(connection, LOGIN, Security.IMPLICIT, CONTEXT)
    assert caught.value.private == "AUTHENTICATE: NO expired"
