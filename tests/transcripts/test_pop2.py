"""Every POP2 transcript, whole and split; the grammar in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.session.pop2 import COMMANDS_HANDLED
from postroom.store.directory import Directory
from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.pop2.commands import (
    BY_KEYWORD,
    Acknowledge,
    Command,
    Fold,
    Helo,
    Quit,
    Read,
    Retr,
    Verdict,
    parse_command,
    write_command,
)
from postroom.wire.pop2.server import Pop2Server
from tests.transcripts.harness import SPLITTERS, Case, FakeClock, Play, cases
from tests.transcripts.pop2_scene import Pop2Scene, make_directory

CASES = cases("pop2")
PLAYS = [
    pytest.param(case, splitter, id=f"{case.path.stem}-{splitter}")
    for case in CASES
    for splitter in SPLITTERS
    if splitter == "whole" or "whole" not in case.needs
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize(("case", "splitter"), PLAYS)
async def test_transcript(case: Case, splitter: str, directory: Directory) -> None:
    clock = FakeClock()
    scene = Pop2Scene(case, directory, clock)
    await scene.prepare()
    await Play(case, scene, clock, SPLITTERS[splitter]).run()


def test_every_command_has_handler_and_transcript() -> None:
    said = {
        step.octets.split()[0].upper()
        for case in CASES
        for step in case.steps
        if step.kind == "C" and step.octets.split()
    }
    assert set(BY_KEYWORD) <= said
    assert set(COMMANDS_HANDLED) == {Helo, Fold, Read, Retr, Acknowledge, Quit}


_TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
_COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Helo, _TEXT, _TEXT),
    st.builds(Fold, _TEXT),
    st.builds(Read, st.none() | st.integers(0, 9_999_999_999)),
    st.builds(Acknowledge, st.sampled_from(Verdict)),
    st.just(Retr()),
    st.just(Quit()),
)


@given(_COMMANDS)
def test_written_commands_are_parsed_back(command: Command) -> None:
    line = write_command(command)
    assert line.endswith(b"\r\n")
    assert parse_command(line[:-2])[1] == command


@given(st.binary(max_size=80))
def test_anything_is_a_command_or_a_parse_error(line: bytes) -> None:
    try:
        _, command = parse_command(line)
    except ParseError:
        return
    assert parse_command(write_command(command)[:-2])[1] == command


def test_more_octets_than_announced_are_refused() -> None:
    server = Pop2Server()
    server.receive_data(b"HELO a b\r\nREAD\r\nRETR\r\n")
    server.next_event()
    server.send_count(1, "")
    server.next_event()
    server.send_length(3, "")
    server.next_event()
    server.send_data(b"ab")
    with pytest.raises(LocalProtocolError):
        server.send_data(b"cd")
    with pytest.raises(LocalProtocolError):
        server.send_count(1, "")
