"""Fixtures of the SQLite engine's tests."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from postroom.store.router import ShardedStore
from tests.store.sqlite.shards import ANNA, BERT, FaultyDisk, open_here

_NUMBERS = itertools.count()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ShardedStore]:
    """One shard with two accounts."""
    async with open_here(tmp_path) as opened:
        await opened.create_account(ANNA)
        await opened.create_account(BERT)
        yield opened


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    """A file system that fails on demand."""
    made = FaultyDisk(f"faulty{next(_NUMBERS)}")
    yield made
    made.unregister()
