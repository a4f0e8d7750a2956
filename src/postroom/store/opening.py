"""Opens a store on SQLite shards: engines for the shards this process owns, links for the others, readers for all.

Purpose: one call for servers, the command line and tests. A data directory with a single process::

    store = open_store(
        {ShardId(0): directory / "0.sqlite"}, directory / "blobs", loop=loop, run=run, gather=asyncio.gather
    )

It must not know: asyncio, configuration; everything of the kind is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from postroom.model.errors import PostroomError
from postroom.model.ids import AccountId, Modseq, ShardId
from postroom.store.blobs.files import FileBlobs, RunInThread
from postroom.store.blobs.inline import INLINE_LIMIT
from postroom.store.engines.sqlite import Loop, SqliteShard, open_shard
from postroom.store.engines.sqlite_reader import ShardReader
from postroom.store.engines.sqlite_search import Candidates, ShardSearch
from postroom.store.operations import ShardWriter
from postroom.store.router import Gather, Shard, ShardedStore
from postroom.store.spool import MessageSpool
from postroom.store.watch import LocalWatch


def open_store(
    paths: Mapping[ShardId, Path],
    blobs: Path,
    *,
    loop: Loop,
    run: RunInThread,
    gather: Gather,
    placement: Callable[[AccountId], ShardId] | None = None,
    owned: Collection[ShardId] | None = None,
    remote: Callable[[ShardId], ShardWriter] | None = None,
    watch: LocalWatch | None = None,
    announce: Callable[[AccountId, Modseq], None] | None = None,
    candidates: Callable[[ShardId], Candidates | None] | None = None,
    clock: Callable[[], float] = time.time,
    vfs: str | None = None,
    retained: int | None = None,
    inline_limit: int = INLINE_LIMIT,
) -> ShardedStore:
    """Open every shard in ``paths``; ``blobs`` and the shards' directories exist.

    ``owned`` (all, when not given) are written here, ``remote`` gives the writer of each other. ``placement`` may be left out for
    a single shard. ``announce`` (``watch.announce`` when not given) hears of every change made by owned shards, on the loop's
    thread. Messages up to ``inline_limit`` octets stay in their shard's file; ``retained`` is how many modseqs an account's
    change log reaches back. ``candidates`` gives the full-text index of a shard. Raises Unavailable; nothing is left open then.
    """
    watch = watch if watch is not None else LocalWatch()
    files = FileBlobs(blobs, run)
    mine = set(paths) if owned is None else set(owned)
    only = next(iter(paths))
    shards: dict[ShardId, Shard] = {}
    engines: list[SqliteShard] = []
    try:
        for number, path in paths.items():
            writer: ShardWriter
            if number in mine:
                engine = open_shard(
                    path,
                    loop=loop,
                    shard=number,
                    announce=announce or watch.announce,
                    clock=clock,
                    vfs=vfs,
                    retained=retained,
                )
                engines.append(engine)
                writer = engine
            elif remote is not None:
                writer = remote(number)
            else:
                raise ValueError(f"shard {number} is neither owned nor remote")
            reader = ShardReader(path, files, vfs)
            search = ShardSearch(reader, run, candidates(number) if candidates else None)
            shards[number] = Shard(writer, reader, search, owned=number in mine)
    except PostroomError:
        for engine in engines:
            engine.abandon()
        raise
    return ShardedStore(
        shards,
        placement=placement or (lambda _account: only),
        watch=watch,
        new_spool=lambda size_hint: MessageSpool(files, size_hint, inline_limit),
        gather=gather,
        files_failed=lambda: files.failed,
    )
