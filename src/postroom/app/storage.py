"""The store as one process opens it: which shards it owns, how it reaches the others, who is told of changes.

Invariants: shard N (from 1) is owned by worker (N - 1) modulo the number of workers; a command of the command line owns every
shard when no server runs, and none when one does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from postroom.app.executors import Threads
from postroom.app.metrics import ServiceMetrics
from postroom.config.paths import DataDir
from postroom.config.settings import Settings, StorageEngine
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId, Modseq, ShardId
from postroom.net.shardlink import RemoteShardWriter, ShardLinkServer
from postroom.net.wakeups import WakeupChannel
from postroom.store.api import MailStore
from postroom.store.directory import Directory, PasswordScheme
from postroom.store.index import SearchIndex
from postroom.store.opening import open_store
from postroom.store.router import ShardedStore
from postroom.store.watch import LocalWatch

_FILE_THREADS: Final = 4


def password_scheme(settings: Settings) -> PasswordScheme:
    """How new passwords are hashed."""
    auth = settings.auth
    return PasswordScheme(
        time_cost=auth.argon2_time,
        memory=auth.argon2_memory // 1024,
        parallelism=auth.argon2_parallelism,
        scram_iterations=auth.scram_iterations,
        scram_sha1=auth.scram_sha1,
    )


def open_directory(settings: Settings, data: DataDir) -> Directory:
    """The directory with what the configuration says about it. Raises Unavailable."""
    return Directory(
        data.directory,
        password_scheme(settings),
        settings.delivery.recipient_delimiter,
        secrets_key=settings.auth.shared_secrets_key or data.shared_secrets_key,
    )


def owner_of(shard: int, workers: int) -> int:
    """The worker that writes a shard."""
    return (shard - 1) % workers


def placement_by(directory: Directory) -> Callable[[AccountId], ShardId]:
    """Where accounts are, by the directory's table; raises Unavailable for one that is not in it."""

    # Ids of accounts are never used again and nothing moves them: what was found stays right.
    known: dict[AccountId, ShardId] = {}

    def placement(account: AccountId) -> ShardId:
        shard = known.get(account)
        if shard is None:
            found = directory.account_by_id(account)
            if found is None:
                raise Unavailable(private=f"account {account} is not in the directory")
            shard = known[account] = found.shard
        return shard

    return placement


class WorkerStorage:
    """A worker's directory and store, with its links to the other workers."""

    def __init__(
        self,
        directory: Directory,
        store: ShardedStore,
        server: ShardLinkServer,
        wakeups: WakeupChannel,
        threads: Threads,
    ) -> None:
        self.directory = directory
        self.store = store
        self._server = server
        self._wakeups = wakeups
        self._threads = threads

    @classmethod
    async def open(
        cls,
        settings: Settings,
        data: DataDir,
        number: int,
        workers: int,
        loop: asyncio.AbstractEventLoop,
        metrics: ServiceMetrics,
    ) -> WorkerStorage:
        """Open what worker ``number`` needs. Raises Unavailable."""
        directory = open_directory(settings, data)
        threads = Threads(loop, _FILE_THREADS, "files")
        watch = LocalWatch()
        siblings = [data.watch_socket(other) for other in range(workers) if other != number]
        wakeups = WakeupChannel(loop, data.watch_socket(number), siblings, watch.announce)

        def announce(account: AccountId, modseq: Modseq) -> None:
            metrics.changed()
            watch.announce(account, modseq)
            wakeups.send(account, modseq)

        shards = [ShardId(shard) for shard in range(1, directory.shards() + 1)]
        owned = {shard for shard in shards if owner_of(shard, workers) == number}
        store = open_store(
            {shard: data.shard(shard) for shard in shards},
            data.blobs,
            loop=loop,
            run=threads,
            gather=asyncio.gather,
            placement=placement_by(directory),
            inline_limit=settings.storage.inline_blob_limit,
            retained=settings.storage.change_retention,
            owned=owned,
            remote=lambda shard: RemoteShardWriter(loop, data.worker_socket(owner_of(shard, workers)), shard),
            watch=watch,
            announce=announce,
            candidates=lambda shard: SearchIndex(data.shard(shard), data.search(shard), data.blobs).source,
        )
        server = ShardLinkServer(loop, data.worker_socket(number), store.writers())
        await server.start()
        return cls(directory, store, server, wakeups, threads)

    @property
    def failed(self) -> str | None:
        """Why the store takes no more writes, None while it does."""
        return self.store.failed

    async def close(self) -> None:
        """Links first, then the store: what has been acknowledged is durable already."""
        await self._server.close()
        await self.store.close()
        self._wakeups.close()
        self._threads.close()
        self.directory.close()


class SoleStorage:
    """Directory and store of a process that is alone with them: no links, no lock, every shard its own."""

    def __init__(self, settings: Settings, data: DataDir, loop: asyncio.AbstractEventLoop) -> None:
        """``data`` has been made; with the memory engine only the directory is kept there. Raises Unavailable."""
        self.directory = open_directory(settings, data)
        self._threads: Threads | None = None
        self.store: MailStore
        if settings.storage.engine is StorageEngine.MEMORY:
            from postroom.store.engines.memory import MemoryStore

            self.store = MemoryStore(lambda: int(time.time()))
            return
        self._threads = Threads(loop, _FILE_THREADS, "files")
        try:
            self.store = open_store(
                {ShardId(shard): data.shard(shard) for shard in range(1, self.directory.shards() + 1)},
                data.blobs,
                loop=loop,
                run=self._threads,
                gather=asyncio.gather,
                placement=placement_by(self.directory),
                inline_limit=settings.storage.inline_blob_limit,
                retained=settings.storage.change_retention,
            )
        except BaseException:
            self._threads.close()
            self.directory.close()
            raise

    async def close(self) -> None:
        """Finish what waits, then release everything."""
        await self.store.close()
        if self._threads is not None:
            self._threads.close()
        self.directory.close()
