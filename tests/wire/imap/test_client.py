"""The client engine: literals both ways, the dialogues, and what it refuses from a server."""

from __future__ import annotations

import pytest
from tests.wire.imap.play import splits

from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.imap import commands as c
from postroom.wire.imap import responses as r
from postroom.wire.imap.client import ImapClient
from postroom.wire.imap.parse import challenge_of
from postroom.wire.imap.search import Numbers
from postroom.wire.imap.spec import State
from postroom.wire.imap.values.sections import BodySection, FetchAtt, Section
from postroom.wire.imap.values.sequence import SequenceSet


def sent(client: ImapClient) -> bytes:
    return b"".join(piece for piece in client.data_to_send() if isinstance(piece, bytes))


def received(client: ImapClient, octets: bytes) -> list[r.ClientEvent]:
    client.receive_data(octets)
    events: list[r.ClientEvent] = []
    while not isinstance(event := client.next_event(), Sentinel):
        events.append(event)
    return events


def logged_in() -> ImapClient:
    client = ImapClient()
    received(client, b"* PREAUTH hello\r\n")
    return client


def test_a_synchronising_literal_waits_for_the_server() -> None:
    client = ImapClient()
    tag = client.send(c.Login("ä", "p\r\n"))
    assert sent(client) == b"A1 LOGIN {2}\r\n"
    assert received(client, b"+ go\r\n") == []
    assert sent(client) == "ä".encode() + b" {3}\r\n"
    assert received(client, b"+ go\r\n") == []
    assert sent(client) == b"p\r\n\r\n"
    assert received(client, b"A1 OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n") == [
        r.Tagged(tag, r.Kind.OK, "hi", r.CapabilityCode(("IMAP4rev1", "IDLE")))
    ]
    assert client.state is State.AUTHENTICATED
    assert client.capabilities == {"IMAP4REV1", "IDLE"}


def test_commands_queue_behind_a_literal_and_a_refusal_frees_them() -> None:
    client = logged_in()
    client.send(c.Append("x", ((c.AppendMessage(3), b"abc"),)))
    client.send(c.Noop())
    assert sent(client) == b"A1 APPEND x {3}\r\n"
    assert received(client, b"A1 NO [TRYCREATE] none\r\n") == [
        r.Tagged(b"A1", r.Kind.NO, "none", r.Word.TRYCREATE)
    ]
    assert sent(client) == b"A2 NOOP\r\n"


def test_authenticate() -> None:
    client = ImapClient()
    client.send(c.Authenticate("PLAIN"))
    assert sent(client) == b"A1 AUTHENTICATE PLAIN\r\n"
    (challenge,) = received(client, b"+ aGk=\r\n")
    assert isinstance(challenge, r.Continue)
    assert challenge_of(challenge) == b"hi"
    client.respond(b"\0a\0b")
    assert sent(client) == b"AGEAYg==\r\n"
    received(client, b"+ \r\n")
    client.respond(None)
    assert sent(client) == b"*\r\n"
    received(client, b"A1 BAD cancelled\r\n")
    assert client.state is State.NOT_AUTHENTICATED


def test_idle() -> None:
    client = logged_in()
    client.send(c.Idle())
    with pytest.raises(LocalProtocolError):
        client.respond(b"")
    assert received(client, b"+ idling\r\n* 4 EXISTS\r\n") == [r.Continue("idling"), r.Exists(4)]
    client.done()
    assert sent(client) == b"A1 IDLE\r\nDONE\r\n"
    received(client, b"A1 OK done\r\n")
    with pytest.raises(LocalProtocolError):
        client.done()


def test_starttls_forgets_and_refuses_what_came_in_clear() -> None:
    client = ImapClient()
    received(client, b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n")
    client.send(c.StartTls())
    with pytest.raises(LocalProtocolError):
        client.send(c.Noop())
    client.receive_data(b"A1 OK go\r\n")
    assert isinstance(client.next_event(), r.Tagged)
    assert client.next_event() is PAUSED
    client.tls_started()
    assert client.capabilities == frozenset()
    assert client.next_event() is NEED_DATA

    injected = ImapClient()
    injected.send(c.StartTls())
    injected.receive_data(b"A1 OK go\r\n* PREAUTH welcome\r\n")
    assert isinstance(injected.next_event(), r.Tagged)
    with pytest.raises(RemoteProtocolError):
        injected.next_event()


def test_states_follow_tagged_replies() -> None:
    client = logged_in()
    with pytest.raises(LocalProtocolError):
        client.send(c.Search(Numbers(SequenceSet(((1, 0),)))))
    client.send(c.Select("x"))
    received(client, b"A1 OK x\r\n")
    states = [client.state]
    steps: list[tuple[c.Command, bytes]] = [
        (c.Select("y"), b"NO"),
        (c.Examine("y"), b"OK"),
        (c.Close(), b"OK"),
    ]
    for command, reply in steps:
        tag = client.send(command)
        received(client, tag + b" " + reply + b" x\r\n")
        states.append(client.state)
    assert states == [State.SELECTED, State.AUTHENTICATED, State.SELECTED, State.AUTHENTICATED]
    client.send(c.Logout())
    received(client, b"* BYE see you\r\n")
    assert not client.closing
    received(client, b"A5 OK x\r\n")
    assert client.state is State.LOGOUT


def test_literals_in_responses_in_any_split() -> None:
    octets = (
        b"* OK text that ends like a literal {5}\r\n"
        b"* 1 FETCH (UID 7 BODY[] {11}\r\na\r\n)\r\n{3}\r\x00 BODY[1]<3> {0}\r\n BODY[2] NIL)\r\n"
        b"A1 OK done {3}\r\n"
    )
    results = []
    for pieces in splits(octets).values():
        client = logged_in()
        client.state = State.SELECTED
        client.send(
            c.Fetch(
                SequenceSet(((1, 1),)), (FetchAtt.UID, BodySection(Section()), BodySection(Section((1,))))
            )
        )
        results.append([event for piece in pieces for event in received(client, piece)])
    assert results[0] == results[1] == results[2]
    assert results[0] == [
        r.Untagged(r.Kind.OK, "text that ends like a literal {5}"),
        r.FetchData(
            1,
            7,
            sections=[
                r.BodyData(Section(), None, b"a\r\n)\r\n{3}\r\x00"),
                r.BodyData(Section((1,)), 3, b""),
                r.BodyData(Section((2,)), None, None),
            ],
        ),
        r.Tagged(b"A1", r.Kind.OK, "done {3}"),
    ]


@pytest.mark.parametrize(
    "octets",
    [
        b"A1 OK not sent\r\n",
        b"+ nobody asked\r\n",
        b"* 1 FETCH (UID 0)\r\n",
        b"* 1 FETCH (UID 1\r\n",
        b"* 1 FETCH (BODY[] {3}\r\nabc\r\n",
        b"* 99999999999 EXISTS\r\n",
        b"* 1 FETCH (ENVELOPE " + b"(" * 2000 + b"\r\n",
        b"* LIST (x) NIL y\r\n",
        b"* LIST () NIL &Jjo\r\n",
        b"\r\n",
        b"* \r\n",
        b"A1 PREAUTH x\r\n",
        b"* 1 FETCH (BODY[] {99999999999}\r\n",
        b"* 1 FETCH (BODY[] {9999}\r\n",
    ],
)
def test_a_server_that_breaks_the_protocol(octets: bytes) -> None:
    client = ImapClient(max_response=5000)
    with pytest.raises(RemoteProtocolError):
        received(client, octets)


def test_end_of_input_without_goodbye() -> None:
    client = ImapClient()
    client.receive_data(b"")
    with pytest.raises(RemoteProtocolError):
        client.next_event()
    gone = ImapClient()
    assert received(gone, b"* BYE full\r\n") == [r.Untagged(r.Kind.BYE, "full")]
    gone.receive_data(b"")
    assert gone.next_event() is NEED_DATA
