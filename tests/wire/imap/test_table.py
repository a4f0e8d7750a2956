"""The table is complete, and FETCH lines with stored bodies go out by reference."""

from __future__ import annotations

from typing import get_args

from postroom.wire.imap import commands, responses
from postroom.wire.imap.data import UTF8_WRITERS, WRITERS
from postroom.wire.imap.fetch import FetchLine, section_label
from postroom.wire.imap.spec import ANY, State
from postroom.wire.imap.table import COMMANDS, EXTENSIONS, ROWS, spec_of
from postroom.wire.imap.values.sections import BodySection, Section
from postroom.wire.imap.values.sequence import SequenceSet
from postroom.wire.output import BlobSlice, Output


def test_every_command_has_a_row_and_every_name_is_unique() -> None:
    assert {row.command for row in ROWS} == set(get_args(commands.Command))
    assert len(COMMANDS) == len(ROWS)
    assert len({extension.name for extension in EXTENSIONS}) == len(EXTENSIONS)
    assert all(name == name.upper() for name in COMMANDS)


def test_every_response_can_be_written() -> None:
    assert set(WRITERS) == set(UTF8_WRITERS) == set(get_args(responses.Response))


def test_only_fetch_store_and_search_by_number_withhold_expunge_while_selected() -> None:
    """RFC 3501 §7.4.1, RFC 5256 §3; CLOSE and UNSELECT report none because the mailbox is left (RFC 3501 §6.4.2)."""
    withheld = {name for name, row in COMMANDS.items() if not row.expunge}
    by_number = {b"FETCH", b"STORE", b"SEARCH", b"SORT", b"THREAD"}
    assert withheld == by_number | {b"CLOSE", b"UNSELECT", b"UNAUTHENTICATE"}
    assert {name for name, row in COMMANDS.items() if row.sequence} == {
        b"FETCH",
        b"STORE",
        b"SEARCH",
        b"SORT",
        b"THREAD",
        b"COPY",
        b"MOVE",
    }


def test_what_is_legal_where() -> None:
    anywhere = {name for name, row in COMMANDS.items() if row.states == ANY}
    assert anywhere == {b"CAPABILITY", b"NOOP", b"LOGOUT", b"ID"}
    before = {name for name, row in COMMANDS.items() if row.states == State.NOT_AUTHENTICATED}
    assert before == {b"STARTTLS", b"LOGIN", b"AUTHENTICATE"}
    assert spec_of(commands.Move(sequence, "x", uid=True)).name == b"UID MOVE"
    assert spec_of(commands.UidExpunge(sequence)).name == b"UID EXPUNGE"


sequence = SequenceSet(((1, 1),))


class Stored:
    """A source that must not be read by the wire layer."""

    def read(self, offset: int, length: int) -> bytes:
        raise AssertionError((offset, length))


def test_a_stored_body_goes_out_by_reference() -> None:
    output = Output()
    line = FetchLine(output)
    label = section_label(BodySection(Section((1, 2)), (5, 100)))
    piece = BlobSlice(Stored(), 5, 70_000)
    line.begin(3)
    line.uid(9)
    line.blob(label, piece)
    line.size(80_000)
    line.rendered(b"ENVELOPE", b"(NIL)")
    line.modseq(4)
    line.string(b"BODY[9]", None)
    line.end()
    line.begin(4)
    line.blob(b"BODY[]", BlobSlice(Stored(), 0, 0))
    line.end()
    assert output.take() == [
        b"* 3 FETCH (UID 9 BODY[1.2]<5> {70000}\r\n",
        piece,
        b" RFC822.SIZE 80000 ENVELOPE (NIL) MODSEQ (4) BODY[9] NIL)\r\n",
        b'* 4 FETCH (BODY[] "")\r\n',
    ]


def test_a_response_is_taken_back_only_while_nothing_is_written() -> None:
    output = Output()
    line = FetchLine(output)
    line.begin(1)
    line.uid(1)
    assert line.cancel()
    line.begin(2)
    line.blob(b"BODY[]", BlobSlice(Stored(), 0, 3))
    line.size(3)
    assert not line.cancel()
    line.begin(3)
    line.uid(3)
    line.end()
    assert output.take()[2:] == [b"* 3 FETCH (UID 3)\r\n"]
