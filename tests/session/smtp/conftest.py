"""The directory that all these tests read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.store.directory import Directory
from tests.transcripts.smtp_scene import make_directory


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    yield made
    made.close()
