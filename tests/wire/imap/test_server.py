"""The server engine: states, dialogues, refusals; each exchange whole, byte-wise and randomly cut."""

from __future__ import annotations

import pytest
from tests.wire.imap.play import agree, feed, logged_in, pump, selected, splits, written

from postroom.wire.errors import LocalProtocolError
from postroom.wire.events import NEED_DATA, PAUSED
from postroom.wire.imap import commands as c
from postroom.wire.imap.events import (
    AppendAbort,
    AppendBegin,
    AppendChunk,
    AppendEnd,
    AppendFinish,
    AuthCancelled,
    AuthResponse,
    Event,
    IdleDone,
    Request,
)
from postroom.wire.imap.limits import AUTOLOGOUT, LOGIN_DEADLINE
from postroom.wire.imap.responses import Continue, Expunged, Kind, Tagged, Untagged
from postroom.wire.imap.server import ImapServer
from postroom.wire.imap.spec import State
from postroom.wire.imap.table import COMMANDS, EXTENSIONS
from postroom.wire.imap.values.flags import FlagList

SESSION = (
    b"a1 CAPABILITY\r\n"
    b"a2 AUTHENTICATE PLAIN\r\n"
    b"AGEAYg==\r\n"
    b"a3 SELECT {5+}\r\nINBOX\r\n"
    b"a4 UID FETCH 1:* (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (To {3+}\r\nFoo)]<0.10>)\r\n"
    b'a5 SEARCH CHARSET UTF-8 SUBJECT {2+}\r\n\xc3\xa4 TEXT "x\\"y"\r\n'
    b"a6 IDLE\r\n"
    b"DONE\r\n"
    b'a7 APPEND "Sent" (\\Seen $x) " 5-Feb-1994 10:00:00 +0100" {8+}\r\nabc\r\ndef {3+}\r\n\r\n.\r\n'
    b"a8 FROB {4+}\r\n}\r\n{ x\r\n"
    b"a9 STORE 1 FLAGS (\\Nope)\r\n"
    b"b0 LIST (SUBSCRIBED) {0+}\r\n (%) RETURN (CHILDREN)\r\n"
    b"b1 SEARCH CHARSET X-NONE ALL\r\n"
    b"b2 CLOSE\r\n"
    b"b3 LOGOUT\r\n"
)


def closed(engine: ImapServer) -> bool:
    """``closing``, looked at anew each time."""
    return engine.closing


def play(pieces: list[bytes]) -> tuple[list[Event], bytes, State]:
    engine = ImapServer(tls=True, mechanisms=("PLAIN",))
    events, output = feed(engine, pieces)
    return events, output, engine.state


def test_any_split_gives_the_same_session() -> None:
    results = {name: play(pieces) for name, pieces in splits(SESSION).items()}
    events, output, state = results["whole"]
    assert all(result == results["whole"] for result in results.values())
    assert state is State.LOGOUT
    assert [event.command for event in events if isinstance(event, Request)][-1] == c.Logout()
    assert [line.split(b" ")[1] for line in output.split(b"\r\n") if line[:1] in b"ab" and line] == [
        *[b"OK"] * 7,
        b"BAD",
        b"BAD",
        b"OK",
        b"NO",
        b"OK",
        b"OK",
    ]
    assert [event for event in events if not isinstance(event, Request)] == [
        AuthResponse(b"a2", b"\0a\0b"),
        IdleDone(b"a6"),
        AppendBegin(b"a7", "Sent", 0, c.AppendMessage(8, FlagList(1, ("$x",)), (760438800, 60))),
        AppendChunk(b"abc\r\ndef"),
        AppendEnd(),
        AppendBegin(b"a7", "Sent", 1, c.AppendMessage(3)),
        AppendChunk(b"\r\n."),
        AppendEnd(),
        AppendFinish(b"a7"),
    ]


def test_multiappend_over_any_split() -> None:
    octets = b"a APPEND x {3+}\r\nabc (\\Draft) {0+}\r\n {4+}\r\n\r\n\r\n\r\nb NOOP\r\n"
    for pieces in splits(octets).values():
        events, output = feed(logged_in(), pieces)
        assert events == [
            AppendBegin(b"a", "x", 0, c.AppendMessage(3)),
            AppendChunk(b"abc"),
            AppendEnd(),
            AppendBegin(b"a", "x", 1, c.AppendMessage(0, FlagList(16))),
            AppendEnd(),
            AppendBegin(b"a", "x", 2, c.AppendMessage(4)),
            AppendChunk(b"\r\n\r\n"),
            AppendEnd(),
            AppendFinish(b"a"),
            Request(b"b", c.Noop(), COMMANDS[b"NOOP"]),
        ]
        assert output == b"a OK done\r\nb OK done\r\n"


def test_synchronising_append_is_asked_for_only_after_acceptance() -> None:
    engine = logged_in()
    engine.receive_data(b'a APPEND "in box" {5}\r\n')
    assert isinstance(engine.next_event(), AppendBegin)
    assert engine.next_event() is PAUSED
    assert written(engine) == b""
    engine.accept_append()
    assert written(engine) == b"+ Ready for message\r\n"
    assert engine.next_event() is NEED_DATA


def refuse(engine: ImapServer, event: Event) -> None:
    if isinstance(event, AppendBegin):
        engine.send(Tagged(event.tag, Kind.NO, "no room"))
    else:
        agree(engine, event)


def test_refused_synchronising_append_ends_the_command() -> None:
    events, output = feed(logged_in(), [b"a APPEND x {5}\r\n", b"b NOOP\r\n"], refuse)
    assert output == b"a NO no room\r\nb OK done\r\n"
    assert [type(event) for event in events] == [AppendBegin, Request]


@pytest.mark.parametrize("name", ["whole", "byte-wise", "random"])
def test_refused_non_synchronising_append_is_swallowed_with_its_command(name: str) -> None:
    octets = b"a APPEND x {12+}\r\nb LOGOUT\r\n\r\n {10+}\r\nc LOGOUT\r\n\r\nd NOOP\r\n"
    events, output = feed(logged_in(), splits(octets)[name], refuse)
    assert output == b"a NO no room\r\nd OK done\r\n"
    assert [type(event) for event in events] == [AppendBegin, Request]


@pytest.mark.parametrize("after", [AppendChunk, AppendEnd, AppendFinish])
def test_append_may_be_refused_at_any_event(after: type[object]) -> None:
    def session(engine: ImapServer, event: Event) -> None:
        if isinstance(event, after):
            if engine.current_tag is not None:
                engine.send(Tagged(b"a", Kind.NO, "disk full"))
        elif isinstance(event, AppendBegin | Request):
            agree(engine, event)

    for pieces in splits(b"a APPEND x {4+}\r\nabcd\r\nb NOOP\r\n").values():
        events, output = feed(logged_in(), pieces, session)
        assert output == b"a NO disk full\r\nb OK done\r\n"
        assert isinstance(events[-1], Request)


def test_two_spaces_between_messages_are_forgiven() -> None:
    events, output = feed(logged_in(), [b"a APPEND x {1+}\r\na  {1+}\r\nb\r\n"])
    assert [event.index for event in events if isinstance(event, AppendBegin)] == [0, 1]
    assert output == b"a OK done\r\n"


def test_a_broken_append_is_aborted_and_answered_once() -> None:
    events, output = feed(logged_in(), [b"a APPEND x {3+}\r\nabc (\\Nope) {2+}\r\nzz\r\nb NOOP\r\n"])
    assert [type(event) for event in events] == [AppendBegin, AppendChunk, AppendEnd, AppendAbort, Request]
    assert [line[:5] for line in output.splitlines()] == [b"a BAD", b"b OK "]


@pytest.mark.parametrize(
    "octets",
    [
        b"a APPEND x\r\n",
        b"a APPEND x (\\Seen)\r\n",
        b'a APPEND x "05-Foo-1994 10:00:00 +0100" {3+}\r\nabc\r\n',
        b"a APPEND x (\\Seen {3+}\r\nabc\r\n",
        b"a APPEND &Jjo {3+}\r\nabc\r\n",
        b"a APPEND x ~~{3+}\r\nabc\r\n",
        b"a APPEND {3+}\r\nabc\r\n",
    ],
)
def test_malformed_append_is_bad_and_the_next_command_stands(octets: bytes) -> None:
    events, output = feed(logged_in(), [octets + b"b NOOP\r\n"])
    assert [type(event) for event in events] == [Request]
    assert [line[:5] for line in output.splitlines()] == [b"a BAD", b"b OK "]


def test_append_to_a_mailbox_named_by_literal() -> None:
    events, output = feed(logged_in(), [b"a APPEND {5}\r\n", b"INBOX {2}\r\n", b"hi\r\n"])
    assert events[0] == AppendBegin(b"a", "INBOX", 0, c.AppendMessage(2))
    assert output == b"+ Ready for literal\r\n+ Ready for message\r\na OK done\r\n"


def test_one_command_at_a_time() -> None:
    engine = ImapServer(tls=True)
    engine.receive_data(b"a NOOP\r\nb CAPABILITY\r\n")
    assert engine.next_event() == Request(b"a", c.Noop(), COMMANDS[b"NOOP"])
    assert engine.next_event() is PAUSED
    engine.send(Tagged(b"a", Kind.OK, "done"))
    assert engine.next_event() == Request(b"b", c.Capability(), COMMANDS[b"CAPABILITY"])


@pytest.mark.parametrize(("tag", "kind"), [(b"wrong", Kind.OK), (b"", Kind.BAD)])
def test_a_reply_must_carry_the_tag_of_the_command(tag: bytes, kind: Kind) -> None:
    engine = ImapServer(tls=True)
    engine.receive_data(b"a NOOP\r\n")
    engine.next_event()
    with pytest.raises(LocalProtocolError):
        engine.send(Tagged(tag, kind, "done"))


def test_expunge_is_refused_while_it_would_mislead() -> None:
    engine = selected()
    with pytest.raises(LocalProtocolError):
        engine.send(Expunged(1))
    engine.receive_data(b"a FETCH 1 FLAGS\r\n")
    engine.next_event()
    with pytest.raises(LocalProtocolError):
        engine.send(Expunged(1))
    engine.send(Tagged(b"a", Kind.OK, "done"))
    engine.receive_data(b"b UID FETCH 1 FLAGS\r\n")
    engine.next_event()
    engine.send(Expunged(1))
    assert written(engine) == b"a OK done\r\n* 1 EXPUNGE\r\n"


def test_every_command_is_legal_exactly_where_its_row_says() -> None:
    for name, spec in COMMANDS.items():
        for state in (State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED):
            engine = ImapServer(tls=True)
            engine.state = state
            _, output = feed(engine, [b"t " + name + b"\x01\r\n"])
            legal = b"not allowed" not in output
            assert legal == bool(spec.states & state), name


def test_select_moves_between_states() -> None:
    engine = logged_in()
    for line, kind, expected in [
        (b"SELECT x", Kind.OK, State.SELECTED),
        (b"SELECT y", Kind.NO, State.AUTHENTICATED),
        (b"EXAMINE y", Kind.OK, State.SELECTED),
        (b"CLOSE", Kind.OK, State.AUTHENTICATED),
        (b"SELECT y", Kind.OK, State.SELECTED),
        (b"UNSELECT", Kind.OK, State.AUTHENTICATED),
    ]:
        engine.receive_data(b"t " + line + b"\r\n")
        assert isinstance(engine.next_event(), Request)
        engine.send(Tagged(b"t", kind, "done"))
        assert engine.state is expected


def test_logout_closes_after_its_tagged_reply() -> None:
    engine = logged_in()
    engine.receive_data(b"a LOGOUT\r\nb NOOP\r\n")
    engine.next_event()
    engine.send(Untagged(Kind.BYE, "see you"))
    assert not closed(engine)
    engine.send(Tagged(b"a", Kind.OK, "done"))
    assert closed(engine)
    assert engine.next_event() is NEED_DATA
    assert written(engine) == b"* BYE see you\r\na OK done\r\n"


def test_preauth_greeting_logs_in() -> None:
    engine = ImapServer()
    engine.send(Untagged(Kind.PREAUTH, "welcome"))
    assert engine.state is State.AUTHENTICATED


# --- logging in -------------------------------------------------------------------------------------------------------


def test_capabilities_follow_tls_and_state() -> None:
    engine = ImapServer(starttls=True, mechanisms=("PLAIN", "SCRAM-SHA-256"), append_limit=5)
    assert {"STARTTLS", "LOGINDISABLED"} <= set(engine.capabilities())
    assert "AUTH=PLAIN" not in engine.capabilities()
    feed(engine, [b"a STARTTLS\r\n"])
    engine.tls_started()
    assert {"AUTH=PLAIN", "AUTH=SCRAM-SHA-256", "SASL-IR"} <= set(engine.capabilities())
    assert not {"STARTTLS", "LOGINDISABLED"} & set(engine.capabilities())
    feed(engine, [b"b LOGIN u p\r\n"])
    after = engine.capabilities()
    assert "APPENDLIMIT=5" in after
    assert "AUTH=PLAIN" not in after
    assert {extension.name for extension in EXTENSIONS} - {"APPENDLIMIT"} <= set(after)


@pytest.mark.parametrize(
    "octets",
    [
        b"a LOGIN u secret\r\n",
        b"a LOGIN u {6}\r\n",
        b"a LOGIN {1+}\r\nu {6+}\r\nsecret\r\n",
        b"a AUTHENTICATE PLAIN\r\n",
        b"a AUTHENTICATE PLAIN AHUAc2VjcmV0\r\n",
    ],
)
def test_logins_in_clear_are_refused_before_the_secret_is_asked_for(octets: bytes) -> None:
    engine = ImapServer(starttls=True, mechanisms=("PLAIN",))
    events, output = feed(engine, [octets + b"b NOOP\r\n"])
    assert [type(event) for event in events] == [Request]
    assert output == b"a NO [PRIVACYREQUIRED] Start TLS first\r\nb OK done\r\n"


def test_passwords_stay_out_of_representations() -> None:
    assert "hunter2" not in repr(c.Login("u", "hunter2"))
    assert "hunter2" not in repr(c.Authenticate("PLAIN", b"hunter2"))
    assert "hunter2" not in repr(AuthResponse(b"a", b"hunter2"))


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"AGEAYg==", AuthResponse(b"a", b"\0a\0b")),
        (b"", AuthResponse(b"a", b"")),
        (b"*", AuthCancelled(b"a")),
        (b"AGEAYg=", AuthCancelled(b"a", malformed=True)),
        (b"not base64", AuthCancelled(b"a", malformed=True)),
        (b"AGE\nAYg==", AuthCancelled(b"a", malformed=True)),
        (b"A" * 13_000, AuthCancelled(b"a", malformed=True)),
    ],
)
def test_authenticate_exchange(line: bytes, event: Event) -> None:
    engine = ImapServer(tls=True, mechanisms=("PLAIN",))
    engine.receive_data(b"a authenticate plain\r\n")
    assert engine.next_event() == Request(b"a", c.Authenticate("PLAIN"), COMMANDS[b"AUTHENTICATE"])
    engine.send(Continue(challenge=b""))
    assert written(engine) == b"+ \r\n"
    engine.receive_data(line + b"\r\n")
    assert engine.next_event() == event
    assert engine.next_event() is PAUSED


# --- STARTTLS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["whole", "byte-wise", "random"])
def test_octets_behind_starttls_end_the_connection(name: str) -> None:
    engine = ImapServer(starttls=True)
    _, output = feed(engine, splits(b"a STARTTLS\r\nb CAPABILITY\r\n")[name])
    assert closed(engine)
    assert b"b " not in output
    assert engine.next_event() is NEED_DATA


def test_octets_between_the_reply_and_the_handshake_end_the_connection() -> None:
    engine = ImapServer(starttls=True)
    feed(engine, [b"a STARTTLS\r\n"])
    assert not closed(engine)
    engine.receive_data(b"\x16\x03\x01")
    assert closed(engine)
    assert written(engine) == b""


def test_starttls_twice_or_where_it_is_not_offered_is_bad() -> None:
    for engine in (ImapServer(tls=True, starttls=True), ImapServer()):
        events, output = feed(engine, [b"a STARTTLS\r\n"])
        assert events == []
        assert output.startswith(b"a BAD ")


# --- IDLE -------------------------------------------------------------------------------------------------------------


def test_idle_ends_with_done_in_any_case_and_by_nothing_else() -> None:
    engine = logged_in()
    events, output = feed(engine, [b"a IDLE\r\ndone\r\nb IDLE\r\nc NOOP\r\nd NOOP\r\n"])
    assert [event for event in events if isinstance(event, IdleDone)] == [
        IdleDone(b"a"),
        IdleDone(b"b", valid=False),
    ]
    assert output == b"+ idling\r\na OK done\r\n+ idling\r\nb BAD done\r\nd OK done\r\n"


def test_idle_needs_a_continuation_before_untagged_data_is_its_own() -> None:
    engine = logged_in()
    with pytest.raises(LocalProtocolError):
        engine.send(Continue("idling"))


# --- deadlines and errors ----------------------------------------------------------------------------------------------


def test_login_deadline_is_not_extended_by_traffic() -> None:
    engine = ImapServer(tls=True)
    engine.handle_deadline(100.0)
    assert engine.next_deadline() == 100.0 + LOGIN_DEADLINE
    feed(engine, [b"a NOOP\r\n"])
    engine.handle_deadline(100.0 + LOGIN_DEADLINE / 2)
    assert not closed(engine)
    engine.handle_deadline(100.0 + LOGIN_DEADLINE)
    assert closed(engine)
    assert written(engine).startswith(b"* BYE ")
    assert engine.next_deadline() is None


def test_autologout_counts_from_the_last_command() -> None:
    engine = logged_in()
    engine.handle_deadline(0.0)
    assert engine.next_deadline() == AUTOLOGOUT
    engine.handle_deadline(AUTOLOGOUT - 1)
    feed(engine, [b"a NOOP\r\n"])
    engine.handle_deadline(AUTOLOGOUT)
    assert not closed(engine)
    engine.handle_deadline(2 * AUTOLOGOUT)
    assert closed(engine)


def test_a_running_command_is_not_logged_out() -> None:
    engine = selected()
    engine.handle_deadline(0.0)
    engine.receive_data(b"a SEARCH TEXT x\r\n")
    engine.next_event()
    engine.handle_deadline(1.0)
    engine.handle_deadline(10 * AUTOLOGOUT)
    assert not closed(engine)


def test_too_many_errors_end_the_connection() -> None:
    engine = ImapServer(tls=True)
    _, output = feed(engine, [b"a FROB\r\n" * 10])
    assert output.count(b"a BAD") == 3
    assert output.splitlines()[-1].startswith(b"* BYE ")
    engine = logged_in()
    feed(engine, [b"a FROB\r\n" * 9 + b"b NOOP\r\n" + b"a FROB\r\n" * 9])
    assert not closed(engine)
    feed(engine, [b"a FROB\r\n"])
    assert closed(engine)


def test_end_of_input_closes() -> None:
    engine = logged_in()
    engine.receive_data(b"a NOOP\r\nb NO")
    engine.receive_data(b"")
    assert len(pump(engine)) == 1
    assert closed(engine)
