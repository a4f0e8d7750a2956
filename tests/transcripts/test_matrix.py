"""POP3 and POP2: every command in every state, against tables written by hand; a command without a row fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom.store.directory import Directory
from postroom.wire.errors import ParseError
from postroom.wire.pop2.commands import BY_KEYWORD as POP2_COMMANDS
from postroom.wire.pop2.commands import parse_command as parse_pop2
from postroom.wire.pop3.table import BY_KEYWORD as POP3_COMMANDS
from postroom.wire.pop3.table import parse_command as parse_pop3
from tests.transcripts import pop2_scene, pop3_scene
from tests.transcripts.harness import SPLITTERS, FakeClock, Play
from tests.transcripts.matrix import Matrix, load_matrix
from tests.transcripts.pop2_scene import Pop2Scene
from tests.transcripts.pop3_scene import Pop3Scene

POP3 = load_matrix("pop3")
POP2 = load_matrix("pop2")
NO_COMMAND = "XYZZY"


@pytest.fixture(scope="module")
def pop3_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = pop3_scene.make_directory(Path(tmp_path_factory.mktemp("pop3")) / "directory.sqlite")
    yield made
    made.close()


@pytest.fixture(scope="module")
def pop2_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = pop2_scene.make_directory(Path(tmp_path_factory.mktemp("pop2")) / "directory.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize("line", POP3.rows)
async def test_pop3(line: str, pop3_directory: Directory) -> None:
    for case in POP3.cases(line):
        clock = FakeClock()
        scene = Pop3Scene(case, pop3_directory, clock)
        await scene.prepare()
        await Play(case, scene, clock, SPLITTERS["whole"]).run()


@pytest.mark.parametrize("line", POP2.rows)
async def test_pop2(line: str, pop2_directory: Directory) -> None:
    for case in POP2.cases(line):
        clock = FakeClock()
        scene = Pop2Scene(case, pop2_directory, clock)
        await scene.prepare()
        await Play(case, scene, clock, SPLITTERS["whole"]).run()


def _parses_pop3(line: bytes) -> bool:
    spec, parse = parse_pop3(line)
    assert spec is not None
    try:
        parse()
    except ParseError:
        return False
    return True


def _parses_pop2(line: bytes) -> bool:
    try:
        parse_pop2(line)
    except ParseError:
        return False
    return True


@pytest.mark.parametrize(
    ("matrix", "commands", "parses"),
    [
        pytest.param(POP3, set(POP3_COMMANDS), _parses_pop3, id="pop3"),
        pytest.param(POP2, set(POP2_COMMANDS), _parses_pop2, id="pop2"),
    ],
)
def test_every_command_has_rows(
    matrix: Matrix, commands: set[bytes], parses: Callable[[bytes], bool]
) -> None:
    """At least one with arguments that it takes, and one with arguments that it does not."""
    assert matrix.keywords() == {name.decode() for name in commands} | {NO_COMMAND}
    for name in sorted(commands):
        lines = [line.encode() for line in matrix.rows if line.split()[0] == name.decode()]
        assert {parses(line) for line in lines} == {True, False}, name
