"""The server engine by itself: any split gives the same events, rubbish gives an answer, memory stays bounded."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.wire.errors import LocalProtocolError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.smtp.commands import Auth, Hello, Mail, Profile, Rcpt, StartTls
from postroom.wire.smtp.events import AuthResponse, DataBegin, DataChunk, DataEnd, DataRefused, Limits, Reset
from postroom.wire.smtp.extensions import Offers
from postroom.wire.smtp.replies import Reply
from postroom.wire.smtp.server import SmtpServer

OFFERS = Offers(size=5000, starttls=True, mechanisms=("PLAIN",))
OK = Reply(250, "ok", "2.0.0")


class Talk:
    """An engine with somebody who says yes to everything."""

    def __init__(self, profile: Profile = Profile.SMTP, offers: Offers = OFFERS, **limits: Any) -> None:
        self.engine = SmtpServer(profile, offers, replace(Limits(), **limits))
        self.engine.handle_deadline(0)
        self.engine.greet(Reply(220, "hi"))
        self.events: list[Any] = []
        self.output = bytearray()
        self.largest = 0

    def feed(self, octets: bytes) -> None:
        self.engine.receive_data(octets)
        while not isinstance(event := self.engine.next_event(), Sentinel):
            self._take(event)
        assert event is NEED_DATA
        for chunk in self.engine.data_to_send():
            assert isinstance(chunk, bytes)
            self.output += chunk
        self.largest = max(self.largest, len(self.engine._buffer))

    def _take(self, event: Any) -> None:
        if isinstance(event, DataChunk):
            if self.events and isinstance(self.events[-1], DataChunk):
                self.events[-1] = DataChunk(self.events[-1].octets + event.octets)
            else:
                self.events.append(event)
            return
        if isinstance(event, DataRefused) and isinstance(self.events[-1], DataChunk):
            # How much of it came before the refusal depends on the split; none of it is kept.
            self.events.pop()
        self.events.append(event)
        match event:
            case DataBegin():
                self.engine.accept_data()
            case Auth() | AuthResponse():
                self.engine.send(Reply(535, "no", "5.7.8"))
            case StartTls():
                self.engine.send(Reply(454, "no", "4.7.0"))
            case DataEnd():
                if self.engine.profile is Profile.LMTP:
                    self.engine.refuse(OK)
                else:
                    self.engine.send(OK)
            case Hello() | Mail() | Rcpt():
                self.engine.send(OK)
            case _:
                pass


LINES = st.sampled_from(
    [
        b"MAIL FROM:<a@b>\r\n",
        b"RCPT TO:<c@d>\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"BDAT 5\r\nab\r\nc",
        b"BDAT 0 LAST\r\n",
        b"BDAT 4 LAST\r\nabcd",
        b"BDAT 3\r\n\r\n\n",
        b"VRFY x\r\n",
        b"XYZZY\r\n",
        b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
        b"HELP\r\n",
        b"NOOP " + b"x" * 3000 + b"\r\n",
        b"\xff\x00\r\n",
        b"BDAT 6000\r\n",
        b"BDAT x\r\n",
        b"QUIT\r\n",
        b"RCPT TO:<c@d\r>\r\n",
    ]
)


@settings(max_examples=200)
@given(
    st.lists(LINES, max_size=15),
    st.lists(st.integers(0, 400), max_size=10),
    st.sampled_from([Profile.SMTP, Profile.LMTP]),
)
def test_any_split_gives_the_same_events_and_replies(
    lines: list[bytes], cuts: list[int], profile: Profile
) -> None:
    hello = b"LHLO x\r\n" if profile is Profile.LMTP else b"EHLO x\r\n"
    octets = b"".join(lines)
    outcomes = []
    for places in ([], cuts, range(len(octets))):
        talk = Talk(profile, errors=1000)
        talk.feed(hello)
        at = sorted({0, len(octets), *(cut for cut in places if cut < len(octets))})
        for begin, end in pairwise(at):
            talk.feed(octets[begin:end])
        outcomes.append((talk.events, bytes(talk.output), talk.engine.closing))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@settings(max_examples=300)
@given(st.lists(st.one_of(LINES, st.binary(max_size=50), st.just(b"DATA\r\n")), max_size=20))
def test_rubbish_is_answered_and_never_surprises(pieces: list[bytes]) -> None:
    talk = Talk()
    for piece in pieces:
        talk.feed(piece)
        if talk.engine.closing:
            break
    text = bytes(talk.output)
    assert text.isascii()
    assert all(line[:3].isdigit() and line[3:4] in (b" ", b"-") for line in text.split(b"\r\n")[:-1])


def test_data_in_any_split() -> None:
    """A message with everything in it, cut at every place, and behind it the next transaction."""
    body = b"Subject: x\r\n\r\n..\r\n.a\r\n. b\r\n\r\n" + bytes(range(128, 256)) + b"\r\n.\r\n"
    tail = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
    wanted = b"Subject: x\r\n\r\n.\r\na\r\n b\r\n\r\n" + bytes(range(128, 256)) + b"\r\n"
    octets = body + tail
    for cut in range(1, len(octets)):
        talk = Talk()
        talk.feed(b"EHLO x\r\n")
        talk.feed(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        talk.feed(octets[:cut])
        talk.feed(octets[cut:])
        kinds = [type(event) for event in talk.events]
        assert kinds == [Hello, Mail, Rcpt, DataBegin, DataChunk, DataEnd, Mail, Rcpt]
        assert talk.events[4].octets == wanted


def test_memory_is_bounded() -> None:
    """threats D6: neither a line without end, nor refused content, nor a flood of chunks is gathered."""
    talk = Talk()
    talk.feed(b"EHLO x\r\n")
    for _ in range(200):
        talk.feed(b"x" * 10_000)
    assert talk.largest < 20_000
    talk.feed(b"\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    for _ in range(200):
        talk.feed(b"y" * 70_000)
    assert talk.largest < 20_000
    talk.feed(b"\r\n.\r\n")
    said = bytes(talk.output).splitlines()
    assert said[-5] == b"500 5.5.2 Line too long"
    assert said[-1] == b"552 5.3.4 Message too large"


def test_the_engine_waits_for_its_session() -> None:
    engine = SmtpServer()
    engine.receive_data(b"")
    assert engine.next_event() is PAUSED, "nothing is read before the greeting"
    engine = SmtpServer()
    engine.greet(Reply(220, "hi"))
    engine.receive_data(b"HELO x\r\n")
    assert isinstance(engine.next_event(), Hello)
    assert engine.next_event() is PAUSED
    engine.receive_data(b"NOOP\r\n")
    assert engine.next_event() is PAUSED
    engine.send(OK)
    assert engine.next_event() is NEED_DATA
    with pytest.raises(LocalProtocolError):
        engine.send(OK)
    with pytest.raises(LocalProtocolError):
        engine.greet(OK)
    with pytest.raises(LocalProtocolError):
        engine.challenge(b"")
    with pytest.raises(LocalProtocolError):
        engine.accept_data()
    with pytest.raises(LocalProtocolError):
        engine.tls_started(OFFERS)


@pytest.mark.parametrize("early", [b"E", b"EHLO x\r\n", b"\r\n"])
def test_who_talks_before_the_greeting_is_told_so(early: bytes) -> None:
    engine = SmtpServer()
    engine.receive_data(early)
    engine.greet(Reply(220, "hi"))
    assert engine.data_to_send() == [b"554 5.5.0 Talk before the greeting\r\n"]
    assert engine.closing


def test_nothing_is_read_while_tls_begins() -> None:
    """threats T3: what comes between the 220 and the handshake reaches nobody, whoever feeds it."""
    talk = Talk()
    talk.feed(b"EHLO x\r\n")
    talk.engine.receive_data(b"STARTTLS\r\n")
    assert isinstance(talk.engine.next_event(), StartTls)
    talk.engine.receive_data(b"MAIL FROM:<a@b>\r\n")
    talk.engine.send(Reply(220, "go", "2.0.0"))
    assert talk.engine.closing
    assert talk.engine.next_event() is NEED_DATA


def test_what_refuse_answers() -> None:
    no = Reply(451, "no", "4.3.0")
    talk = Talk(Profile.LMTP)
    talk.engine.refuse(no)
    talk.feed(b"LHLO x\r\n")
    talk.engine.receive_data(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n")
    for _ in range(4):
        event = talk.engine.next_event()
        assert not isinstance(event, Sentinel)
        talk._take(event)
    talk.engine.receive_data(b"text\r\n")
    assert talk.engine.next_event() == DataChunk(b"text")
    talk.engine.refuse(no)
    talk.engine.receive_data(b"more\r\n.\r\nNOOP\r\n")
    assert talk.engine.next_event() is NEED_DATA
    said = b"".join(chunk for chunk in talk.engine.data_to_send() if isinstance(chunk, bytes))
    assert said.endswith(
        b"354 End data with <CR><LF>.<CR><LF>\r\n" + b"451 4.3.0 no\r\n" * 2 + b"250 2.0.0 OK\r\n"
    )


def test_deadlines() -> None:
    """Patience is for whole commands and for the average rate of content (threats D8)."""
    engine = SmtpServer(limits=Limits(command_time=300, data_grace=60, data_rate=500))
    assert engine.next_deadline() is None
    engine.handle_deadline(1000)
    engine.greet(OK)
    engine.handle_deadline(1000)
    assert engine.next_deadline() == 1300
    engine.receive_data(b"EHL")
    engine.handle_deadline(1200)
    assert engine.next_deadline() == 1300, "a drip earns nothing"
    engine.receive_data(b"O x\r\n")
    assert isinstance(engine.next_event(), Hello)
    engine.handle_deadline(1400)
    assert engine.data_to_send() == [b"250 2.0.0 ok\r\n"], "it is our turn"
    engine.send(OK)
    engine.handle_deadline(1500)
    assert engine.next_deadline() == 1800
    engine.receive_data(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    for answer in (OK, OK, None):
        assert not isinstance(engine.next_event(), Sentinel)
        if answer:
            engine.send(answer)
        else:
            engine.accept_data()
    engine.handle_deadline(2000)
    assert engine.next_deadline() == 2060
    engine.receive_data(b"x" * 5000)
    engine.handle_deadline(2001)
    assert engine.next_deadline() == 2070
    engine.receive_data(b"x" * 5_000_000)
    engine.handle_deadline(2002)
    assert engine.next_deadline() == 2302, "no more in advance than a command's time"
    while engine.next_event() is not NEED_DATA:
        pass
    engine.handle_deadline(2302)
    assert engine.closing
    assert engine.data_to_send()[-1] == b"421 4.4.2 Timeout, closing\r\n"


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(Auth("PLAIN", b"\0user\0hunter2")) + repr(AuthResponse(b"hunter2"))


def test_reset_forgets_chunks() -> None:
    talk = Talk()
    talk.feed(b"EHLO x\r\n")
    talk.feed(
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabcRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nx"
    )
    kinds = [type(event) for event in talk.events[1:]]
    assert kinds == [Mail, Rcpt, DataBegin, DataChunk, Reset, Mail, Rcpt, DataBegin, DataChunk, DataEnd]


def test_random_walks_keep_one_reply_per_command() -> None:
    """Pipelined groups: as many replies as commands, in order (RFC 2920 §3.2)."""
    chance = random.Random(2920)
    for _ in range(200):
        talk = Talk(errors=10_000)
        talk.feed(b"EHLO x\r\n")
        talk.output.clear()
        group = [
            chance.choice(
                [
                    b"MAIL FROM:<a@b>",
                    b"RCPT TO:<c@d>",
                    b"RSET",
                    b"NOOP",
                    b"MAIL FROM:<bad",
                    b"VRFY x",
                    b"WHAT",
                ]
            )
            for _ in range(chance.randrange(1, 30))
        ]
        talk.feed(b"".join(line + b"\r\n" for line in group))
        assert talk.output.count(b"\r\n") == len(group)
