"""Every POP3 transcript: on sessions in process, whole and split, and on the cores in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.session.pop3.table import HANDLERS
from postroom.store.directory import Directory
from postroom.wire.errors import ParseError
from postroom.wire.events import Sentinel
from postroom.wire.pop3.client import BodyComplete, Lines, Pop3Client, Response
from postroom.wire.pop3.replies import ResponseCode
from postroom.wire.pop3.spec import CommandSpec
from postroom.wire.pop3.table import BY_KEYWORD, COMMANDS, parse_command, write_command
from tests.transcripts.harness import SPLITTERS, Case, FakeClock, Play, cases
from tests.transcripts.pop3_scene import Pop3Scene, make_directory

CASES = cases("pop3")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    yield made
    made.close()


PLAYS = [
    pytest.param(case, splitter, id=f"{case.path.stem}-{splitter}")
    for case in CASES
    for splitter in SPLITTERS
    if splitter == "whole" or "whole" not in case.needs
]


@pytest.mark.parametrize(("case", "splitter"), PLAYS)
async def test_transcript(case: Case, splitter: str, directory: Directory) -> None:
    clock = FakeClock()
    scene = Pop3Scene(case, directory, clock)
    await scene.prepare()
    await Play(case, scene, clock, SPLITTERS[splitter]).run()


@pytest.mark.parametrize("split", [1, 7, 100_000])
@pytest.mark.parametrize("case", [c for c in CASES if "client" in c.needs], ids=lambda case: case.path.stem)
def test_the_client_reads_what_the_server_says(case: Case, split: int) -> None:
    """Commands are written as they stand; replies are read to the end. For cases of one connection, well-formed."""
    client = Pop3Client()
    events = []
    sent = 0
    for step in case.steps:
        if step.kind == "C":
            spec, parse = parse_command(step.octets.rstrip(b"\r\n"))
            assert spec is not None
            client.send(parse())
            sent += 1
            assert b"".join(c for c in client.data_to_send() if isinstance(c, bytes)) == step.octets
        elif step.kind == "S":
            for at in range(0, len(step.octets), split):
                client.receive_data(step.octets[at : at + split])
                while not isinstance(event := client.next_event(), Sentinel):
                    events.append(event)
    answers = [event for event in events if isinstance(event, Response | Lines | BodyComplete)]
    assert len(answers) == sent
    assert client.next_deadline() is None, "every reply was complete"


def test_every_command_has_handler_and_transcript() -> None:
    said = {
        word.upper()
        for case in CASES
        for step in case.steps
        if step.kind == "C"
        for word in [step.octets.split()[0] if step.octets.split() else b""]
    }
    assert {spec.command for spec in COMMANDS} == set(HANDLERS)
    assert set(BY_KEYWORD) <= said


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name.decode())
@pytest.mark.parametrize(
    "argument", [b"", b" ", b" 0", b" 1 2", b" -1", b" 99999999999", b" x y", b" \xff", b" +1"]
)
def test_written_commands_are_parsed_back(spec: CommandSpec, argument: bytes) -> None:
    try:
        command = spec.parse(argument[1:])
    except ParseError:
        return
    found, parse = parse_command(write_command(command)[:-2])
    assert found is spec
    assert parse() == command


@pytest.mark.parametrize("code", ResponseCode)
def test_every_response_code_has_a_transcript(code: ResponseCode) -> None:
    said = [step.octets for case in CASES for step in case.steps if step.kind == "S"]
    assert any(line.startswith(f"-ERR [{code}] ".encode()) for line in said)
