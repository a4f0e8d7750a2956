"""parse(write(x)) == x for values, commands and responses; client and server use opposite halves of one grammar."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.wire.imap import strategies as s
from tests.wire.imap.play import feed, logged_in, selected

from postroom.model.flags import Keywords
from postroom.wire.cursor import Cursor
from postroom.wire.events import NEED_DATA
from postroom.wire.imap import commands as c
from postroom.wire.imap import responses as r
from postroom.wire.imap.client import ImapClient
from postroom.wire.imap.data import write_response, write_utf8_response
from postroom.wire.imap.events import AppendBegin, AppendChunk, AppendEnd, AppendFinish, Request
from postroom.wire.imap.fetch import FetchLine, flags_line, section_label, uid_modseq_line
from postroom.wire.imap.parse import challenge_of, parse_response
from postroom.wire.imap.server import ImapServer
from postroom.wire.imap.spec import State
from postroom.wire.imap.table import spec_of
from postroom.wire.imap.values import dates, flags, mailbox, sequence
from postroom.wire.imap.values.flags import FlagList, ReportedFlags
from postroom.wire.imap.values.sections import BodySection
from postroom.wire.imap.writer import CommandText
from postroom.wire.output import Output


@given(s.sequence_set)
def test_sequence_set(value: sequence.SequenceSet) -> None:
    assert sequence.SequenceSet.parse(value.write()) == value


@given(s.mailbox)
def test_mailbox_name(value: str) -> None:
    assert mailbox.decode_mailbox(mailbox.encode_mailbox(value)) == value


@given(s.date_time)
def test_date_time(value: tuple[int, int]) -> None:
    assert dates.parse_date_time(Cursor(dates.write_date_time(*value))) == value


@given(s.day)
def test_date(value: int) -> None:
    assert dates.parse_date(Cursor(dates.write_date(value))) == value


@given(s.reported)
def test_reported_flags(value: ReportedFlags) -> None:
    assert flags.parse_reported_flags(Cursor(flags.write_reported_flags(value))) == value


@given(s.plain_commands, st.booleans(), st.booleans())
def test_command(command: c.Command, non_synchronising: bool, utf8: bool) -> None:
    text = CommandText(non_synchronising=non_synchronising, utf8=utf8)
    spec = spec_of(command)
    spec.write(text, command)
    octets = b"".join(text.finish())
    cursor = Cursor(octets.removesuffix(b"\r\n"), utf8=utf8)
    assert spec.parse(cursor) == command
    assert cursor.at_end()


@given(s.plain_commands, st.booleans(), st.booleans())
def test_command_through_both_engines(command: c.Command, non_synchronising: bool, utf8: bool) -> None:
    server = selected()
    client = ImapClient(non_synchronising=non_synchronising)
    spec = spec_of(command)
    if not spec.states & State.SELECTED:
        server = ImapServer(tls=True)
    server.state = client.state = State.SELECTED if spec.states & State.SELECTED else State.NOT_AUTHENTICATED
    server.utf8 = client.utf8 = utf8
    tag = client.send(command)
    requests: list[Request] = []
    for _ in range(200):
        sent = b"".join(piece for piece in client.data_to_send() if isinstance(piece, bytes))
        if not sent:
            break

        def keep(engine: ImapServer, event: object) -> None:
            assert isinstance(event, Request)
            requests.append(event)
            engine.send(r.Tagged(event.tag, r.Kind.OK, "done"))

        _, reply = feed(server, [sent], keep)
        client.receive_data(reply)
        while (event := client.next_event()) is not NEED_DATA:
            assert event == r.Tagged(tag, r.Kind.OK, "done")
    assert [(request.tag, request.command) for request in requests] == [(tag, command)]
    assert requests[0].spec is spec


@given(s.appends, st.booleans(), st.booleans())
def test_append_through_both_engines(command: c.Append, non_synchronising: bool, utf8: bool) -> None:
    server = logged_in()
    client = ImapClient(non_synchronising=non_synchronising)
    server.utf8 = client.utf8 = utf8
    client.state = State.AUTHENTICATED
    tag = client.send(command)
    events: list[object] = []
    done: list[object] = []
    while sent := b"".join(piece for piece in client.data_to_send() if isinstance(piece, bytes)):
        given_out, reply = feed(server, [sent])
        events += given_out
        client.receive_data(reply)
        while (event := client.next_event()) is not NEED_DATA:
            done.append(event)
    expected: list[object] = []
    for index, (message, octets) in enumerate(command.messages):
        expected.append(AppendBegin(tag, command.mailbox, index, message))
        expected += [AppendChunk(octets)] if octets else []
        expected.append(AppendEnd())
    assert events == [*expected, AppendFinish(tag)]
    assert done == [r.Tagged(tag, r.Kind.OK, "done")]


@given(s.responses)
def test_response(response: r.Response) -> None:
    assert parse_response(write_response(response).removesuffix(b"\r\n")) == response
    written = write_utf8_response(response).removesuffix(b"\r\n")
    assert parse_response(written, utf8=True) == response


@given(st.binary(max_size=60))
def test_challenge(octets: bytes) -> None:
    parsed = parse_response(write_response(r.Continue(challenge=octets)).removesuffix(b"\r\n"))
    assert isinstance(parsed, r.Continue)
    assert challenge_of(parsed) == octets


@given(
    s.nz_number,
    st.integers(0, 31),
    st.lists(s.atom, max_size=2).map(tuple),
    st.booleans(),
    s.number,
    s.number63,
)
def test_flags_line(number: int, system: int, words: Keywords, recent: bool, uid: int, modseq: int) -> None:
    parsed = parse_response(flags_line(number, system, words, recent, uid, modseq).removesuffix(b"\r\n"))
    assert parsed == r.FetchData(
        number, uid or None, ReportedFlags(system, words, recent), modseq=modseq or None
    )


@given(s.nz_number, s.number, s.nz_number63)
def test_uid_modseq_line(number: int, uid: int, modseq: int) -> None:
    parsed = parse_response(uid_modseq_line(number, uid, modseq).removesuffix(b"\r\n"))
    assert parsed == r.FetchData(number, uid or None, modseq=modseq)


@given(
    s.nz_number,
    s.flags,
    s.date_time,
    s.number,
    st.lists(st.tuples(s.body_sections, st.binary(max_size=80)), max_size=3),
)
def test_fetch_line(
    number: int,
    given_flags: FlagList,
    date: tuple[int, int],
    size: int,
    bodies: list[tuple[BodySection, bytes]],
) -> None:
    output = Output()
    fetch = FetchLine(output)
    fetch.begin(number)
    fetch.flags(given_flags.system, given_flags.keywords, recent=False)
    fetch.internal_date(*date)
    fetch.size(size)
    for item, octets in bodies:
        fetch.octets(section_label(item), octets)
    fetch.end()
    chunks = output.take()
    parsed = parse_response(
        b"".join(chunk for chunk in chunks if isinstance(chunk, bytes)).removesuffix(b"\r\n")
    )
    assert parsed == r.FetchData(
        number,
        flags=ReportedFlags(given_flags.system, given_flags.keywords),
        internal_date=date,
        size=size,
        sections=[
            r.BodyData(item.section, None if item.partial is None else item.partial[0], octets)
            for item, octets in bodies
        ],
    )
