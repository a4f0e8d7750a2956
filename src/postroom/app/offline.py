"""The directory and the store for a command of the command line: alone, or beside a running server.

Invariants: without a server the command owns the data directory (its lock) and every shard. Beside a server it owns nothing: its
writes go to the workers, which own the shards.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroom.app.executors import Threads
from postroom.app.parent import AlreadyRunning, take_lock, worker_count
from postroom.app.storage import open_directory, owner_of, placement_by
from postroom.config.paths import DataDir
from postroom.config.settings import Settings
from postroom.model.ids import ShardId
from postroom.net.shardlink import RemoteShardWriter
from postroom.store.api import MailStore
from postroom.store.directory import Directory
from postroom.store.opening import open_store

if TYPE_CHECKING:
    from postroom.store.fsck import Finding


@dataclass(slots=True, frozen=True)
class Offline:
    """What a command works with. ``served``: a server runs, and does the writing."""

    directory: Directory
    store: MailStore
    served: bool


@asynccontextmanager
async def open_offline(settings: Settings) -> AsyncIterator[Offline]:
    """Open the directory and the store. Raises Unavailable, AlreadyRunning (something holds the data directory and does not
    answer)."""
    data = DataDir(settings.data_dir)
    loop = asyncio.get_running_loop()
    try:
        lock = take_lock(data)
    except AlreadyRunning:
        lock = -1
    workers = worker_count(settings) if lock >= 0 else _running_workers(data)
    directory = open_directory(settings, data)
    threads = Threads(loop, 2, "files")
    try:
        shards = [ShardId(shard) for shard in range(1, directory.shards() + 1)]
        store = open_store(
            {shard: data.shard(shard) for shard in shards},
            data.blobs,
            loop=loop,
            run=threads,
            gather=asyncio.gather,
            placement=placement_by(directory),
            inline_limit=settings.storage.inline_blob_limit,
            retained=settings.storage.change_retention,
            owned=shards if lock >= 0 else (),
            remote=lambda shard: RemoteShardWriter(loop, data.worker_socket(owner_of(shard, workers)), shard),
        )
        async with store:
            yield Offline(directory, store, lock < 0)
    finally:
        threads.close()
        directory.close()
        if lock >= 0:
            os.close(lock)


def _running_workers(data: DataDir) -> int:
    """How many workers the running server has. Raises AlreadyRunning while it is starting or stopping."""
    try:
        return int(json.loads(data.state.read_text())["workers"])
    except (OSError, ValueError, KeyError, TypeError):
        raise AlreadyRunning(
            "Another postroom is starting or stopping on this data directory, try again"
        ) from None


def fsck(settings: Settings, *, deep: bool = False) -> list[Finding]:
    """Check every shard. Raises AlreadyRunning while a server runs, Unavailable."""
    from postroom.store.fsck import check_shard

    data = DataDir(settings.data_dir)
    lock = take_lock(data)
    try:
        directory = open_directory(settings, data)
        try:
            count = directory.shards()
        finally:
            directory.close()
        findings: list[Finding] = []
        for shard in range(1, count + 1):
            if data.shard(shard).exists():
                findings += check_shard(data.shard(shard), data.blobs, deep=deep)
        return findings
    finally:
        os.close(lock)
