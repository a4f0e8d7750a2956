"""A directory with costs that tests can bear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.store.directory import Directory, PasswordScheme

CHEAP = PasswordScheme(time_cost=1, memory=8, parallelism=1, scram_iterations=4096)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory.sqlite"


@pytest.fixture
def directory(path: Path) -> Iterator[Directory]:
    made = Directory(path, CHEAP)
    made.add_domain("example.org")
    yield made
    made.close()
