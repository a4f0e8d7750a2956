"""The collector's POP3: what it says to servers of all kinds, and what it refuses."""

from __future__ import annotations

import ssl
from base64 import b64encode

import pytest

from postroom.collect.pop3 import Pop3Mailbox
from postroom.collect.remote import Login, RemoteMessage, RemoteRefused, Security
from postroom.model.errors import PostroomError, Unavailable
from postroom.session.transport import TlsInfo
from postroom.wire.errors import ProtocolError, RemoteProtocolError
from tests.collect.servers import ScriptedConnection

TLS = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")
LOGIN = Login("anna", "pass word")
CONTEXT = ssl.create_default_context()
PLAIN = b64encode(b"\0anna\0pass word")
GREETING = (b"", b"+OK ready\r\n")
NO_CAPA = (b"CAPA\r\n", b"-ERR what\r\n")
USER = (b"USER anna\r\n", b"+OK\r\n")
PASS = (b"PASS pass word\r\n", b"+OK logged in\r\n")
SIMPLE = [GREETING, NO_CAPA, USER, PASS]


async def opened(
    *script: tuple[bytes, bytes | None], security: Security = Security.IMPLICIT, login: Login = LOGIN
) -> tuple[Pop3Mailbox, ScriptedConnection]:
    connection = ScriptedConnection(script, TLS if security is Security.IMPLICIT else None)
    return await Pop3Mailbox.open(connection, login, security, CONTEXT), connection


async def test_a_whole_session() -> None:
    mailbox, connection = await opened(
        *SIMPLE,
        (b"LIST\r\n", b"+OK\r\n1 20\r\n2 30\r\n3 40\r\n.\r\n"),
        (b"UIDL\r\n", b"+OK\r\n1 aaa\r\n3 ccc\r\n.\r\n"),
        (b"TOP 1 0\r\n", b"+OK\r\nSubject: x\r\n\r\n.\r\n"),
        (b"RETR 1\r\n", b"+OK\r\nSubject: x\r\n\r\n..dot\r\n.\r\n"),
        (b"DELE 1\r\n", b"+OK\r\n"),
        (b"QUIT\r\n", b"+OK bye\r\n"),
    )
    listing = await mailbox.listing()
    assert listing == [RemoteMessage("aaa", 1, 20), RemoteMessage("ccc", 3, 40)]
    assert await mailbox.header(listing[0]) == b"Subject: x\r\n\r\n"
    assert b"".join([piece async for piece in mailbox.octets(listing[0])]) == b"Subject: x\r\n\r\n.dot\r\n"
    await mailbox.delete(listing[0])
    await mailbox.close()
    assert connection.closed
    assert connection.finished


async def test_starttls_asks_for_capabilities_again() -> None:
    mailbox, connection = await opened(
        GREETING,
        (b"CAPA\r\n", b"+OK\r\nSTLS\r\nSASL EVIL\r\n.\r\n"),
        (b"STLS\r\n", b"+OK\r\n"),
        (b"CAPA\r\n", b"+OK\r\nSASL PLAIN\r\nUIDL\r\n.\r\n"),
        (b"AUTH PLAIN " + PLAIN + b"\r\n", b"+OK\r\n"),
        security=Security.STARTTLS,
    )
    assert connection.tls is not None
    await mailbox.abandon()
    assert connection.closed


CHALLENGE = b64encode(b"<1896.697170952@postoffice.reston.mci.net>")
TIM = Login("tim", "tanstaaftanstaaf", digest=True)


async def test_a_digest_where_it_is_asked_for() -> None:
    """RFC 2195 §2."""
    answer = b64encode(b"tim b913a602c7eda7a495b4e6e7334d3890")
    mailbox, connection = await opened(
        GREETING,
        (b"CAPA\r\n", b"+OK\r\nSASL PLAIN SCRAM-SHA-256 CRAM-MD5\r\n.\r\n"),
        (b"AUTH CRAM-MD5\r\n", b"+ " + CHALLENGE + b"\r\n"),
        (answer + b"\r\n", b"+OK\r\n"),
        login=TIM,
    )
    assert connection.finished
    await mailbox.abandon()


TIMESTAMP = b"<1896.697170952@dbc.mtview.ca.us>"
APOP = (b"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n", b"+OK maildrop has 1 message\r\n")
MROSE = Login("mrose", "tanstaaf", digest=True)


async def test_apop_where_a_digest_is_asked_for_and_nothing_better_is_there() -> None:
    """RFC 1939 §7."""
    mailbox, connection = await opened(
        (b"", b"+OK POP3 server ready " + TIMESTAMP + b"\r\n"), NO_CAPA, APOP, login=MROSE
    )
    assert connection.finished
    await mailbox.abandon()


async def test_apop_in_clear_where_that_is_allowed() -> None:
    greeting = (b"", b"+OK " + TIMESTAMP + b"\r\n")
    login = Login("mrose", "tanstaaf", digest=True, allow_clear=True)
    mailbox, connection = await opened(greeting, NO_CAPA, APOP, security=Security.NONE, login=login)
    assert connection.finished
    await mailbox.abandon()


async def test_a_timestamp_changes_nothing_for_others() -> None:
    mailbox, connection = await opened((b"", b"+OK " + TIMESTAMP + b"\r\n"), NO_CAPA, USER, PASS)
    assert connection.finished
    await mailbox.abandon()


@pytest.mark.parametrize(
    ("script", "security"),
    [
        # CVE-2007-1558: no msg-id, chosen by somebody in between
        ([(b"", b"+OK <\x01\x02\x03@x>\r\n"), NO_CAPA], Security.IMPLICIT),
        ([(b"", b"+OK " + TIMESTAMP + b"\r\n"), NO_CAPA], Security.NONE),
        # RFC 2595 §4: what came in clear is forgotten
        (
            [
                (b"", b"+OK " + TIMESTAMP + b"\r\n"),
                (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"),
                (b"STLS\r\n", b"+OK\r\n"),
                NO_CAPA,
            ],
            Security.STARTTLS,
        ),
    ],
)
async def test_no_digest_of_what_anybody_may_have_chosen(
    script: list[tuple[bytes, bytes | None]], security: Security
) -> None:
    connection = ScriptedConnection(script, TLS if security is Security.IMPLICIT else None)
    with pytest.raises(RemoteRefused):
        await Pop3Mailbox.open(connection, MROSE, security, CONTEXT)
    assert connection.finished
    assert connection.closed


@pytest.mark.parametrize(
    ("capabilities", "security"),
    [(b"SASL PLAIN SCRAM-SHA-256", Security.IMPLICIT), (b"SASL CRAM-MD5", Security.NONE)],
)
async def test_a_digest_or_nothing(capabilities: bytes, security: Security) -> None:
    script = [GREETING, (b"CAPA\r\n", b"+OK\r\n" + capabilities + b"\r\n.\r\n")]
    connection = ScriptedConnection(script, TLS if security is Security.IMPLICIT else None)
    with pytest.raises(RemoteRefused):
        await Pop3Mailbox.open(connection, TIM, security, CONTEXT)
    assert connection.finished
    assert connection.closed


@pytest.mark.parametrize(
    ("script", "security"),
    [
        ([(b"", b"-ERR busy\r\n")], Security.IMPLICIT),
        ([GREETING, NO_CAPA], Security.STARTTLS),
        (
            [GREETING, (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", b"-ERR no\r\n")],
            Security.STARTTLS,
        ),
        (
            [GREETING, (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", b"+OK\r\n+OK x\r\n")],
            Security.STARTTLS,
        ),
        ([GREETING, NO_CAPA], Security.NONE),
        ([GREETING, (b"CAPA\r\n", b"+OK\r\nSASL PLAIN LOGIN\r\n.\r\n")], Security.NONE),
        ([GREETING, NO_CAPA, USER, (b"PASS pass word\r\n", b"-ERR [AUTH] wrong\r\n")], Security.IMPLICIT),
        ([GREETING, NO_CAPA, (b"USER anna\r\n", None)], Security.IMPLICIT),
        ([(b"", b"HTTP/1.1 400\r\n")], Security.IMPLICIT),
    ],
)
async def test_sessions_that_do_not_begin(
    script: list[tuple[bytes, bytes | None]], security: Security
) -> None:
    connection = ScriptedConnection(script, TLS if security is Security.IMPLICIT else None)
    with pytest.raises((PostroomError, ProtocolError)):
        await Pop3Mailbox.open(connection, LOGIN, security, CONTEXT)
    assert connection.closed
    assert connection.finished
    assert not any(b"pass word" in said for said in connection.said) or security is Security.IMPLICIT


async def test_in_clear_only_where_the_source_allows_it() -> None:
    _, connection = await opened(
        *SIMPLE, security=Security.NONE, login=Login("anna", "pass word", allow_clear=True)
    )
    assert connection.finished


async def test_a_server_that_skips_the_proof_is_refused() -> None:
    class Eager(ScriptedConnection):
        def _advance(self, sent: bytes) -> None:
            if sent.startswith(b"AUTH SCRAM"):
                self._waiting.append(b"+OK welcome\r\n")
            else:
                super()._advance(sent)

    connection = Eager([GREETING, (b"CAPA\r\n", b"+OK\r\nSASL SCRAM-SHA-256\r\n.\r\n")], TLS)
    with pytest.raises(RemoteRefused):
        await Pop3Mailbox.open(connection, LOGIN, Security.IMPLICIT, CONTEXT)


async def test_without_uidl_nothing_is_collected() -> None:
    mailbox, _ = await opened(
        *SIMPLE, (b"LIST\r\n", b"+OK\r\n1 20\r\n.\r\n"), (b"UIDL\r\n", b"-ERR what\r\n")
    )
    with pytest.raises(RemoteRefused):
        await mailbox.listing()


@pytest.mark.parametrize("line", [b"x aaa", b"1", b"", b"99999999999 a"])
async def test_listings_that_make_no_sense(line: bytes) -> None:
    mailbox, _ = await opened(
        *SIMPLE, (b"LIST\r\n", b"+OK\r\n.\r\n"), (b"UIDL\r\n", b"+OK\r\n" + line + b"\r\n.\r\n")
    )
    with pytest.raises(RemoteProtocolError):
        await mailbox.listing()


async def test_a_message_that_ends_early_is_an_error() -> None:
    mailbox, _ = await opened(*SIMPLE, (b"RETR 1\r\n", b"+OK\r\nSubject: x\r\n\r\nhalf"))
    with pytest.raises((RemoteProtocolError, Unavailable)):
        _ = [piece async for piece in mailbox.octets(RemoteMessage("a", 1, 99))]


async def test_a_refused_message_leaves_the_session_usable() -> None:
    mailbox, _ = await opened(
        *SIMPLE, (b"RETR 1\r\n", b"-ERR [SYS/PERM] damaged\r\n"), (b"RETR 2\r\n", b"+OK\r\nok\r\n.\r\n")
    )
    with pytest.raises(RemoteRefused) as caught:
        _ = [piece async for piece in mailbox.octets(RemoteMessage("a", 1, 99))]
    assert caught.value.private == "[SYS/PERM] damaged"
    assert [piece async for piece in mailbox.octets(RemoteMessage("b", 2, 4))] == [b"ok\r\n"]


async def test_a_quit_that_is_refused_is_an_error() -> None:
    mailbox, connection = await opened(*SIMPLE, (b"QUIT\r\n", b"-ERR some deleted messages not removed\r\n"))
    with pytest.raises(RemoteRefused):
        await mailbox.close()
    assert connection.closed
