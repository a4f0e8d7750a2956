"""More IMAP transcripts, of clients that log in themselves, on the store of ``tests.session.imap.stores``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.store.directory import Directory
from tests.transcripts.harness import SPLITTERS, Case, FakeClock, Play, cases
from tests.transcripts.imap_session_scene import ImapScene
from tests.transcripts.pop3_scene import make_directory

PLAYS = [
    pytest.param(case, splitter, id=f"{case.path.stem}-{splitter}")
    for case in cases("imap_session")
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
