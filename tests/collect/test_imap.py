"""The collector's IMAP: what it says to servers of all kinds, and what it refuses."""

from __future__ import annotations

import ssl
from base64 import b64encode

import pytest

from postroom.collect.imap import ImapMailbox
from postroom.collect.remote import Login, RemoteMessage, RemoteRefused, Security
from postroom.model.errors import PostroomError
from postroom.session.transport import TlsInfo
from postroom.wire.errors import ProtocolError, RemoteProtocolError
from tests.collect.servers import ScriptedConnection

TLS = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")
LOGIN = Login("anna", "pass word")
CONTEXT = ssl.create_default_context()
GREETING = (b"", b"* OK ready\r\n")
CAPABLE = (b"A1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS\r\nA1 OK\r\n")
PLAIN = b64encode(b"\0anna\0pass word")
AUTH = (b"A2 AUTHENTICATE PLAIN " + PLAIN + b"\r\n", b"A2 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n")
SELECT = (b"A3 SELECT INBOX\r\n", b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nA3 OK [READ-WRITE] ok\r\n")
SIMPLE = [GREETING, CAPABLE, AUTH, SELECT]


async def opened(*script: tuple[bytes, bytes | None]) -> tuple[ImapMailbox, ScriptedConnection]:
    connection = ScriptedConnection(script, TLS)
    return await ImapMailbox.open(connection, LOGIN, Security.IMPLICIT, CONTEXT), connection


async def test_a_digest_where_it_is_asked_for() -> None:
    """RFC 2195 §2; the challenge has the text of its example."""
    challenge = b64encode(b"<1896.697170952@postoffice.reston.mci.net>")
    answer = b64encode(b"tim b913a602c7eda7a495b4e6e7334d3890")
    connection = ScriptedConnection(
        [
            GREETING,
            (
                b"A1 CAPABILITY\r\n",
                b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=CRAM-MD5\r\nA1 OK\r\n",
            ),
            (b"A2 AUTHENTICATE CRAM-MD5\r\n", b"+ " + challenge + b"\r\n"),
            (answer + b"\r\n", b"A2 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n"),
            SELECT,
        ],
        TLS,
    )
    login = Login("tim", "tanstaaftanstaaf", digest=True)
    mailbox = await ImapMailbox.open(connection, login, Security.IMPLICIT, CONTEXT)
    assert connection.finished
    await mailbox.abandon()


async def test_a_whole_session() -> None:
    mailbox, connection = await opened(
        *SIMPLE,
        (
            b"A4 FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n",
            (
                b'* 2 FETCH (UID 9 FLAGS (\\Seen \\Deleted work) INTERNALDATE "01-Jan-2001 10:00:00 +0200" RFC822.SIZE 20)\r\n'
                b'* 1 FETCH (UID 5 FLAGS () INTERNALDATE "01-Jan-2001 10:00:00 +0000" RFC822.SIZE 10)\r\n'
                b"* 3 FETCH (FLAGS ())\r\nA4 OK\r\n"
            ),
        ),
        (
            b"A5 UID FETCH 5 (UID BODY.PEEK[HEADER])\r\n",
            b"* 1 FETCH (UID 5 BODY[HEADER] {4}\r\na:\r\n)\r\nA5 OK\r\n",
        ),
        (
            b"A6 UID FETCH 5 (UID BODY.PEEK[])\r\n",
            b"* 4 EXISTS\r\n* 1 FETCH (UID 5 BODY[] {6}\r\na:\r\n\r\n)\r\nA6 OK\r\n",
        ),
        (b"A7 UID STORE 5 +FLAGS.SILENT (\\Deleted)\r\n", b"A7 OK\r\n"),
        (b"A8 UID EXPUNGE 5\r\n", b"* 1 EXPUNGE\r\nA8 OK\r\n"),
        (b"A9 LOGOUT\r\n", b"* BYE\r\nA9 OK\r\n"),
    )
    listing = await mailbox.listing()
    assert listing == [
        RemoteMessage("7.5", 5, 10, 0, (), (978_343_200, 0)),
        RemoteMessage("7.9", 9, 20, 1, ("work",), (978_336_000, 120)),
    ]
    assert await mailbox.header(listing[0]) == b"a:\r\n"
    assert [piece async for piece in mailbox.octets(listing[0])] == [b"a:\r\n\r\n"]
    await mailbox.delete(listing[0])
    await mailbox.close()
    assert connection.closed
    assert connection.finished


async def test_without_an_initial_response_and_with_login() -> None:
    no_ir = (b"A1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nA1 OK\r\n")
    _, connection = await opened(
        GREETING,
        no_ir,
        (b"A2 AUTHENTICATE PLAIN\r\n", b"+ \r\n"),
        (PLAIN + b"\r\n", b"A2 OK [CAPABILITY IMAP4rev1] in\r\n"),
        SELECT,
    )
    assert connection.finished
    bare = (b"A1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1\r\nA1 OK\r\n")
    _, connection = await opened(
        GREETING,
        bare,
        (b'A2 LOGIN anna "pass word"\r\n', b"A2 OK in\r\n"),
        (b"A3 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1\r\nA3 OK\r\n"),
        (b"A4 SELECT INBOX\r\n", b"* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nA4 OK ok\r\n"),
    )
    assert connection.finished


async def test_an_empty_mailbox_is_not_asked() -> None:
    mailbox, _ = await opened(
        GREETING,
        CAPABLE,
        AUTH,
        (b"A3 SELECT INBOX\r\n", b"* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nA3 OK\r\n"),
    )
    assert await mailbox.listing() == []


CLEAR = (b"A1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN\r\nA1 OK\r\n")
UPGRADE = (b"A1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nA1 OK\r\n")


@pytest.mark.parametrize(
    ("script", "security"),
    [
        ([(b"", b"* BYE busy\r\n")], Security.IMPLICIT),
        ([(b"", b"* PREAUTH hello\r\n")], Security.IMPLICIT),
        ([(b"", b"+OK POP3\r\n")], Security.IMPLICIT),
        ([GREETING, CLEAR], Security.STARTTLS),
        ([GREETING, UPGRADE, (b"A2 STARTTLS\r\n", b"A2 NO\r\n")], Security.STARTTLS),
        ([GREETING, UPGRADE, (b"A2 STARTTLS\r\n", b"A2 OK\r\n* OK injected\r\n")], Security.STARTTLS),
        ([GREETING, CLEAR], Security.NONE),
        ([GREETING, CAPABLE, (AUTH[0], b"A2 NO [AUTHENTICATIONFAILED] wrong\r\n")], Security.IMPLICIT),
        ([GREETING, CAPABLE, (AUTH[0], None)], Security.IMPLICIT),
        ([GREETING, CAPABLE, AUTH, (SELECT[0], b"A3 NO no such mailbox\r\n")], Security.IMPLICIT),
        ([GREETING, CAPABLE, AUTH, (SELECT[0], b"* 1 EXISTS\r\nA3 OK\r\n")], Security.IMPLICIT),
    ],
)
async def test_sessions_that_do_not_begin(
    script: list[tuple[bytes, bytes | None]], security: Security
) -> None:
    connection = ScriptedConnection(script, TLS if security is Security.IMPLICIT else None)
    with pytest.raises((PostroomError, ProtocolError)):
        await ImapMailbox.open(connection, LOGIN, security, CONTEXT)
    assert connection.closed
    assert connection.finished
    if security is not Security.IMPLICIT:
        assert not any(PLAIN in said or b"pass word" in said for said in connection.said)


async def test_a_message_that_is_gone_concerns_itself_alone() -> None:
    mailbox, _ = await opened(
        *SIMPLE,
        (b"A4 UID FETCH 5 (UID BODY.PEEK[])\r\n", b"A4 OK\r\n"),
        (b"A5 UID FETCH 9 (UID BODY.PEEK[])\r\n", b"* 1 FETCH (UID 9 BODY[] {0}\r\n)\r\nA5 OK\r\n"),
    )
    with pytest.raises(RemoteRefused):
        _ = [piece async for piece in mailbox.octets(RemoteMessage("7.5", 5, 10))]
    assert [piece async for piece in mailbox.octets(RemoteMessage("7.9", 9, 0))] == [b""]


async def test_a_literal_that_ends_early_is_an_error() -> None:
    mailbox, _ = await opened(
        *SIMPLE, (b"A4 UID FETCH 5 (UID BODY.PEEK[])\r\n", b"* 1 FETCH (UID 5 BODY[] {60}\r\nhalf")
    )
    with pytest.raises((RemoteProtocolError, PostroomError)):
        _ = [piece async for piece in mailbox.octets(RemoteMessage("7.5", 5, 60))]


async def test_without_uidplus_nothing_of_others_is_expunged() -> None:
    mailbox, connection = await opened(
        GREETING,
        CAPABLE,
        (AUTH[0], b"A2 OK [CAPABILITY IMAP4rev1] in\r\n"),
        SELECT,
        (b"A4 UID STORE 5 +FLAGS.SILENT (\\Deleted)\r\n", b"A4 OK\r\n"),
        (b"A5 LOGOUT\r\n", b"* BYE\r\nA5 OK\r\n"),
    )
    await mailbox.delete(RemoteMessage("7.5", 5, 10))
    await mailbox.close()
    assert connection.finished


IDLING = [GREETING, CAPABLE, (AUTH[0], b"A2 OK [CAPABILITY IMAP4rev1 UIDPLUS IDLE] in\r\n"), SELECT]


async def test_idle_ends_with_new_mail() -> None:
    mailbox, connection = await opened(
        *IDLING,
        (b"A4 FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n", b"A4 OK\r\n"),
        (b"A5 UID STORE 5 +FLAGS.SILENT (\\Deleted)\r\n", b"A5 OK\r\n"),
        (b"A6 UID EXPUNGE 5\r\n", b"* 1 EXPUNGE\r\nA6 OK\r\n"),
        (b"A7 IDLE\r\n", b"+ idling\r\n* 3 EXISTS\r\n"),
        (b"DONE\r\n", b"A7 OK\r\n"),
    )
    assert mailbox.can_wait
    await mailbox.listing()
    await mailbox.delete(RemoteMessage("7.5", 5, 10))
    assert await mailbox.wait(60), "two were left, now there are three"
    assert connection.finished


async def test_idle_ends_in_time_and_with_other_words() -> None:
    mailbox, connection = await opened(
        *IDLING,
        (b"A4 FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n", b"A4 OK\r\n"),
        (b"A5 IDLE\r\n", b"+ idling\r\n"),
        (b"DONE\r\n", b"A5 OK\r\n"),
        (b"A6 IDLE\r\n", b"+ idling\r\n* OK still here\r\n"),
        (b"DONE\r\n", b"A6 OK\r\n"),
    )
    await mailbox.listing()
    assert not await mailbox.wait(60)
    assert not await mailbox.wait(60)
    assert connection.finished


async def test_mail_that_came_during_a_fetch_needs_no_idle() -> None:
    mailbox, _ = await opened(
        *IDLING,
        (b"A4 FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n", b"A4 OK\r\n"),
        (
            b"A5 UID FETCH 5 (UID BODY.PEEK[HEADER])\r\n",
            b"* 4 EXISTS\r\n* 1 FETCH (UID 5 BODY[HEADER] {0}\r\n)\r\nA5 OK\r\n",
        ),
    )
    await mailbox.listing()
    await mailbox.header(RemoteMessage("7.5", 5, 10))
    assert await mailbox.wait(60)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"A5 NO\r\n", RemoteRefused),
        (b"A5 BAD x\r\n", RemoteRefused),
        (b"+ idling\r\n* BYE\r\n", RemoteProtocolError),
    ],
)
async def test_idle_that_is_refused_or_ends(answer: bytes, error: type[Exception]) -> None:
    mailbox, _ = await opened(
        *IDLING,
        (b"A4 FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n", b"A4 OK\r\n"),
        (b"A5 IDLE\r\n", answer),
        (b"DONE\r\n", None),
    )
    await mailbox.listing()
    with pytest.raises(error):
        await mailbox.wait(60)
