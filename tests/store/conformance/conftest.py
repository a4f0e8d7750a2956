"""Every engine of the store, one after the other; after each test the shard on disk must keep its invariants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postroom.store.api import MailStore
from postroom.store.engines.memory import MemoryStore
from postroom.store.fsck import check_shard
from tests.store.sqlite.shards import ANNA, BERT, DAY, open_here

ENGINES = ("memory", "sqlite", "two shards")


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MailStore]:
    """A store with two accounts."""
    if request.param == "memory":
        memory = MemoryStore(clock=lambda: DAY)
        await memory.create_account(ANNA)
        await memory.create_account(BERT)
        yield memory
        return
    shards = 2 if request.param == "two shards" else 1
    async with open_here(tmp_path, shards=shards) as store:
        await store.create_account(ANNA)
        await store.create_account(BERT)
        yield store
        assert store.failed is None
    for number in range(shards):
        assert check_shard(tmp_path / f"{number}.sqlite", tmp_path / "blobs", deep=True) == []
