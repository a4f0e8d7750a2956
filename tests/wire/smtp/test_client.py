"""The client engine: replies find their commands, what nobody asked for is refused, commands cannot be broken out of."""

from __future__ import annotations

import pytest

from postroom.model.address import Address
from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.events import NEED_DATA, Sentinel
from postroom.wire.smtp.client import Moment, Replied, SmtpClient
from postroom.wire.smtp.commands import Auth, Bdat, Data, Hello, Mail, Noop, Quit, Rcpt, StartTls, Vrfy
from postroom.wire.smtp.replies import Reply

MAIL = Mail(Address("a", "b"))
RCPT = Rcpt(Address("c", "d"))


def client(*, lmtp: bool = False, hello: bytes = b"250-x\r\n250-SIZE 10\r\n250 PIPELINING\r\n") -> SmtpClient:
    made = SmtpClient(lmtp=lmtp)
    made.receive_data(b"220 hi\r\n")
    assert made.next_event() == Replied(Moment.GREETING, Reply(220, "hi"))
    made.send(Hello("LHLO" if lmtp else "EHLO", "me"))
    made.receive_data(hello)
    assert isinstance(made.next_event(), Replied)
    sent(made)
    return made


def sent(made: SmtpClient) -> bytes:
    return b"".join(chunk for chunk in made.data_to_send() if isinstance(chunk, bytes))


def replies(made: SmtpClient, octets: bytes) -> list[tuple[object, int]]:
    if octets:
        made.receive_data(octets)
    found: list[tuple[object, int]] = []
    while not isinstance(event := made.next_event(), Sentinel):
        found.append((event.to, event.reply.code))
    return found


def test_a_group_and_its_replies_in_any_split() -> None:
    octets = b"250 ok\r\n550-5.1.1 no\r\n550 5.1.1 nobody\r\n354 go\r\n"
    for cut in range(len(octets)):
        made = client()
        assert made.extensions == {"SIZE": ("10",), "PIPELINING": ()}
        for command in (MAIL, RCPT, Data()):
            made.send(command)
        assert sent(made) == b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
        found = replies(made, octets[:cut]) + replies(made, octets[cut:])
        assert found == [(MAIL, 250), (RCPT, 550), (Data(), 354)]
        made.send_content(b".x\r\n")
        made.end_content()
        assert sent(made) == b"..x\r\n.\r\n"
        assert replies(made, b"250 ok\r\n") == [(Moment.CONTENT, 250)]
        assert made.idle


def test_lmtp_has_a_reply_for_each_that_was_accepted() -> None:
    made = client(lmtp=True)
    for command in (MAIL, RCPT, RCPT, RCPT, Data()):
        made.send(command)
    replies(made, b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    made.end_content()
    assert replies(made, b"250 ok\r\n452 full\r\n") == [(Moment.CONTENT, 250), (Moment.CONTENT, 452)]
    assert made.idle
    for command in (MAIL, RCPT):
        made.send(command)
    with pytest.raises(LocalProtocolError):
        made.send(Bdat(0, last=True))


@pytest.mark.parametrize(
    "octets",
    [
        b"250 unasked\r\n",
        b"hello\r\n",
        b"999 x\r\n",
        b"25\r\n",
        b"250_x\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-" + b"x" * 5000,
        b"250-a\r\n" * 300,
        b"\xff\xfe\r\n",
        b"\r\n",
    ],
)
def test_what_a_server_must_not_say(octets: bytes) -> None:
    """threats S9"""
    made = client()
    made.receive_data(octets)
    with pytest.raises(RemoteProtocolError):
        made.next_event()


@pytest.mark.parametrize("command", [MAIL, Noop(), StartTls(), Auth("PLAIN")])
def test_354_is_for_data_only(command: Mail | Noop | StartTls | Auth) -> None:
    made = client()
    made.send(command)
    made.receive_data(b"354 go\r\n")
    with pytest.raises(RemoteProtocolError):
        made.next_event()


def test_data_is_not_done_before_its_content() -> None:
    made = client()
    made.send(Data())
    made.receive_data(b"250 ok\r\n")
    with pytest.raises(RemoteProtocolError):
        made.next_event()


def test_421_may_be_said_at_any_time() -> None:
    made = client()
    assert replies(made, b"421 4.3.2 closing\r\n") == [(Moment.UNASKED, 421)]
    assert made.closing
    made.receive_data(b"")
    assert made.next_event() is NEED_DATA
    with pytest.raises(LocalProtocolError):
        made.send(Noop())


def test_a_connection_that_ends_too_early() -> None:
    made = client()
    made.send(Noop())
    made.receive_data(b"250")
    made.receive_data(b"")
    with pytest.raises(RemoteProtocolError):
        made.next_event()


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"2", b"\n"])
def test_octets_behind_the_reply_to_starttls(behind: bytes) -> None:
    """threats T4, in one segment and in two."""
    made = client()
    made.send(StartTls())
    made.receive_data(b"220 go\r\n" + behind)
    with pytest.raises(RemoteProtocolError):
        made.next_event()
    made = client()
    made.send(StartTls())
    made.receive_data(b"220 go\r\n")
    assert isinstance(made.next_event(), Replied)
    made.receive_data(behind)
    with pytest.raises(RemoteProtocolError):
        made.next_event()
    with pytest.raises(LocalProtocolError):
        made.send(Noop())


def test_what_was_announced_in_clear_is_forgotten() -> None:
    made = client(hello=b"250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
    with pytest.raises(LocalProtocolError):
        made.tls_started()
    made.send(StartTls())
    assert replies(made, b"220 go\r\n") == [(StartTls(), 220)]
    made.tls_started()
    assert made.extensions == {}


def test_the_end_of_a_group_is_kept() -> None:
    for command in (Data(), Hello("EHLO", "me"), Quit(), StartTls(), Auth("PLAIN")):
        made = client()
        made.send(MAIL)
        made.send(command)
        with pytest.raises(LocalProtocolError):
            made.send(Noop())


def test_chunks_are_counted() -> None:
    made = client()
    made.send(Bdat(5))
    made.send_content(b"\n.\r")
    with pytest.raises(LocalProtocolError):
        made.send(Noop())
    with pytest.raises(LocalProtocolError):
        made.send_content(b"xyz")
    made.send_content(b"\0\n")
    made.send(Bdat(0, last=True))
    assert sent(made) == b"BDAT 5\r\n\n.\r\0\nBDAT 0 LAST\r\n"
    with pytest.raises(LocalProtocolError):
        made.end_content()


@pytest.mark.parametrize(
    "command",
    [
        Rcpt(Address("a\r\nDATA", "b")),
        Rcpt(Address("a", "b>\r\nDATA")),
        Rcpt(Address("a", "b> x")),
        Mail(Address("a\0", "b")),
        Hello("EHLO", "x\r\nQUIT"),
        Vrfy("x\nQUIT"),
    ],
)
def test_nothing_breaks_out_of_a_command(command: Rcpt | Mail | Hello | Vrfy) -> None:
    """threats S7"""
    made = client()
    with pytest.raises(LocalProtocolError):
        made.send(command)
    assert sent(made) == b""


def test_deadlines() -> None:
    """RFC 5321 §4.5.3.2"""
    made = SmtpClient()
    made.handle_deadline(0)
    assert made.next_deadline() == 300
    made.receive_data(b"220 hi\r\n")
    made.next_event()
    assert made.next_deadline() is None
    made.handle_deadline(1000)
    made.send(MAIL)
    assert made.next_deadline() == 1300
    made.handle_deadline(1299)
    with pytest.raises(RemoteProtocolError):
        made.handle_deadline(1300)


def test_the_server_s_time_begins_when_it_has_the_chunk() -> None:
    made = client()
    made.handle_deadline(0)
    made.send(Bdat(2, last=True))
    made.handle_deadline(5000)
    made.send_content(b"a")
    made.handle_deadline(9000)
    made.send_content(b"b")
    made.handle_deadline(9001)
    assert made.next_deadline() == 9601
