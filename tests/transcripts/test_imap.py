"""Every IMAP transcript: on sessions in process, whole and split; and the tables are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.session.imap.errors import CODES
from postroom.session.imap.table import HANDLERS
from postroom.store.directory import Directory
from postroom.wire.imap.commands import Append
from postroom.wire.imap.table import COMMANDS, EXTENSIONS
from tests.transcripts.harness import SPLITTERS, Case, FakeClock, Play, cases
from tests.transcripts.imap_scene import ImapScene
from tests.transcripts.pop3_scene import make_directory

CASES = cases("imap")


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
    scene = ImapScene(case, directory, clock)
    await scene.prepare()
    await Play(case, scene, clock, SPLITTERS[splitter]).run()


def spoken() -> set[bytes]:
    """Commands that some transcript's client says, "UID FETCH" and the like as two words."""
    said: set[bytes] = set()
    for case in CASES:
        for step in case.steps:
            words = step.octets.upper().split()
            if step.kind == "C" and len(words) > 1:
                said.add(words[1])
                said.add(b" ".join(words[1:3]))
    return said


def test_every_command_has_handler_and_transcript() -> None:
    assert {row.command for row in COMMANDS.values()} - {Append} == set(HANDLERS)
    assert set(COMMANDS) <= spoken()


def test_every_error_code_has_a_transcript() -> None:
    """Of the one mapping table: each response code is seen in some reply."""
    replies = b"".join(
        inner.octets
        for case in CASES
        for step in case.steps
        for inner in (step, *step.group)
        if step.kind != "C"
    )
    seen = set(re.findall(rb"\[([A-Z-]+)", replies))
    assert {getattr(code, "value", "").encode() for _, code in CODES if code is not None} <= seen


def test_every_extension_has_a_transcript() -> None:
    """Each is named in the header of the transcript that shows it."""
    cited = {
        rfc for case in CASES for line in case.header.get("rfc", []) for rfc in re.findall(r"RFC \d+", line)
    }
    assert {extension.source for extension in EXTENSIONS} <= cited
