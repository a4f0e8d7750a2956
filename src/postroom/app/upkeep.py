"""What the background process does between requests: full-text indexing, removing blob files that nobody refers to, and
messages that have stayed in INBOX for as long as they may.

Invariants: reads the shards, writes only the indexes and the blobs directory; messages are removed by the workers that own
their shards; a file is removed only when it is older than the
grace period and no shard refers to it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from postroom.app.offline import open_offline
from postroom.app.parent import AlreadyRunning
from postroom.app.pop3 import policy_of
from postroom.app.retention import Ledger, Retention
from postroom.config.paths import DataDir
from postroom.config.settings import Settings
from postroom.model.errors import PostroomError
from postroom.store.blobs.files import FileBlobs
from postroom.store.engines.sqlite_reader import ShardReader
from postroom.store.index import SearchIndex

_log = structlog.get_logger("postroom.background")

_SWEEP_SECONDS: Final = 3600.0
_EXPIRE_SECONDS: Final = 3600.0
_INDEX_BUDGET: Final = 100
"""Messages indexed in one step, about 50 ms of work."""


class Upkeep:
    """Small steps of work; ``step`` returns whether there is more to do at once."""

    def __init__(self, settings: Settings, data: DataDir) -> None:
        self._settings = settings
        self._policy = policy_of(settings.pop3)
        self._next_expiry = time.monotonic() + 60.0 if self._policy.expires else math.inf
        self._grace = settings.storage.blob_grace
        self._data = data
        self._next_sweep = time.monotonic() + 60.0
        self._indexes: dict[Path, SearchIndex] = {}

    def step(self) -> bool:
        """Do a little; never raises."""
        busy = False
        try:
            for path in sorted(self._data.shards.glob("*.sqlite")):
                busy = self._index(path).index_some(_INDEX_BUDGET) or busy
            if time.monotonic() >= self._next_sweep:
                self._next_sweep = time.monotonic() + _SWEEP_SECONDS
                self.sweep(time.time())
            if time.monotonic() >= self._next_expiry:
                self._next_expiry = time.monotonic() + _EXPIRE_SECONDS
                self.expire(time.time())
        except (PostroomError, OSError, AlreadyRunning) as error:
            _log.warning("upkeep failed, will be tried again", reason=str(error))
            return False
        return busy

    def sweep(self, now: float) -> int:
        """Remove files that are old enough and that no shard refers to; returns how many. Raises Unavailable, OSError."""
        files = FileBlobs(self._data.blobs, _at_once)
        readers = [ShardReader(path, files) for path in sorted(self._data.shards.glob("*.sqlite"))]
        removed = 0
        try:
            for key, modified in files.keys():  # noqa: SIM118 - no mapping
                if now - modified < self._grace:
                    continue
                if not any(reader.references_file(key) for reader in readers):
                    files.remove(key)
                    removed += 1
        finally:
            for reader in readers:
                reader.close()
        if removed:
            _log.info("unreferenced files removed", count=removed)
        return removed

    def expire(self, now: float) -> int:
        """One round of EXPIRE; returns how many messages went. Raises Unavailable, AlreadyRunning."""
        return asyncio.run(self._expire(int(now)))

    async def _expire(self, now: int) -> int:
        with Ledger(self._data.retention) as ledger:
            async with open_offline(self._settings) as offline:
                retention = Retention(offline.store, ledger, self._policy)
                return await retention.expire(offline.directory.accounts(), now)

    def close(self) -> None:
        """Release everything."""
        for index in self._indexes.values():
            index.close()
        self._indexes.clear()

    def _index(self, shard: Path) -> SearchIndex:
        index = self._indexes.get(shard)
        if index is None:
            index = self._indexes[shard] = SearchIndex(
                shard, self._data.searches / shard.name, self._data.blobs
            )
        return index


async def _at_once(work: Callable[[], Any]) -> Any:
    return work()
