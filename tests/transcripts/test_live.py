"""Every transcript of every protocol over real sockets (tests/transcripts/live.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.store.directory import Directory
from tests.transcripts import imap_scene, imap_session_scene, pop2_scene, pop3_scene, smtp_scene
from tests.transcripts.harness import SPLITTERS, Case, FakeClock, cases
from tests.transcripts.live import LivePlay

MAKERS: dict[str, tuple[Callable[..., Any], Callable[[Path], Directory]]] = {
    "pop2": (pop2_scene.Pop2Scene, pop2_scene.make_directory),
    "pop3": (pop3_scene.Pop3Scene, pop3_scene.make_directory),
    "smtp": (smtp_scene.SmtpScene, smtp_scene.make_directory),
    "lmtp": (smtp_scene.SmtpScene, smtp_scene.make_directory),
    "imap": (imap_scene.ImapScene, pop3_scene.make_directory),
    "imap_session": (imap_session_scene.ImapScene, pop3_scene.make_directory),
}
CASES = [
    pytest.param(folder, case, id=f"{folder}-{case.path.stem}") for folder in MAKERS for case in cases(folder)
]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Directory]]:
    made = {
        folder: make(Path(tmp_path_factory.mktemp(folder)) / "directory.sqlite")
        for folder, (_, make) in MAKERS.items()
    }
    yield made
    for directory in made.values():
        directory.close()


@pytest.mark.parametrize(("folder", "case"), CASES)
async def test_transcript(folder: str, case: Case, directories: dict[str, Directory]) -> None:
    clock = FakeClock()
    scene = MAKERS[folder][0](case, directories[folder], clock)
    await scene.prepare()
    await LivePlay(case, scene, clock, SPLITTERS["whole"]).run()
