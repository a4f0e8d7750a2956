"""Transcripts of what IMAP answers to every command and every error; and nothing the protocol's tables hold is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.session.imap.errors import CODES
from postroom.session.imap.table import HANDLERS
from postroom.store.directory import Directory
from postroom.wire.imap.commands import Append
from postroom.wire.imap.responses import Word
from postroom.wire.imap.table import COMMANDS, EXTENSIONS
from tests.transcripts.harness import SPLITTERS, Case, FakeClock, Play, Step, cases
from tests.transcripts.imap_scene import ImapScene
from tests.transcripts.pop3_scene import make_directory

CASES = cases("imap")
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
    scene = ImapScene(case, directory, clock)
    await scene.prepare()
    await Play(case, scene, clock, SPLITTERS[splitter]).run()


def said(kinds: str) -> Iterator[bytes]:
    """What the clients (``C``) or the servers (``S*``) of all transcripts say."""
    for case in CASES:
        waiting: list[Step] = list(case.steps)
        while waiting:
            step = waiting.pop()
            waiting += step.group
            if step.kind in kinds:
                yield step.octets


def test_every_command_has_handler_and_transcript() -> None:
    spoken: set[bytes] = set()
    for octets in said("C"):
        for line in octets.split(b"\r\n"):
            words = line.upper().split()
            if len(words) > 1:
                spoken.add(words[1])
                spoken.add(b" ".join(words[1:3]))
    assert set(COMMANDS) <= spoken
    # APPEND alone arrives as events and has no handler.
    assert {spec.command for spec in COMMANDS.values()} - {Append} == set(HANDLERS)


def test_every_error_code_has_a_transcript() -> None:
    answered = b"\n".join(said("S*"))
    # NoSuchMessage is never raised by what IMAP does: messages that are gone are simply not reported.
    expected = {code.value for _, code in CODES if isinstance(code, Word)} - {Word.EXPUNGEISSUED.value}
    told = {found.decode() for found in re.findall(rb"(?:NO|BYE) \[([A-Z-]+)", answered)}
    assert expected <= told
    assert {"TRYCREATE", "BADCHARSET", "PRIVACYREQUIRED", "SERVERBUG"} <= told


def test_every_extension_has_a_transcript() -> None:
    headers = " ".join(" ".join(case.header.get("rfc", [])) for case in CASES)
    assert [one.name for one in EXTENSIONS if one.source not in headers] == []
