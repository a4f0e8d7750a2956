"""Messages on their way in."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postroom.mime.scanner import scan
from postroom.model.errors import Corrupt, StorageFull, Unavailable
from postroom.store.blobs.files import FileBlobs
from postroom.store.spool import BLOCK, MessageSpool

LARGE = (
    b"Subject: large\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
    + b"a line of text\r\n" * 50_000
)
SMALL = b"Subject: small\r\n\r\nhello\r\n"


@pytest.fixture
def files(tmp_path: Path) -> FileBlobs:
    async def run(work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, work)

    def start(work: Callable[[], Any]) -> Any:
        return asyncio.ensure_future(run(work))

    return FileBlobs(tmp_path, start)


def litter(files: FileBlobs) -> list[str]:
    return [key for key, _ in files.keys()]  # noqa: SIM118


async def write(spool: MessageSpool, octets: bytes, step: int) -> None:
    for at in range(0, len(octets), step):
        waiting = spool.write(octets[at : at + step])
        if waiting is not None:
            await waiting


async def whole(spool: MessageSpool, octets: bytes, step: int) -> None:
    await write(spool, octets, step)
    await spool.finish()


@pytest.mark.parametrize("step", [1000, 70_000, 1 << 20])
@pytest.mark.parametrize("hint", [None, 10, 1 << 20])
@pytest.mark.parametrize("octets", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
async def test_any_way_in_gives_the_same(
    files: FileBlobs, octets: bytes, step: int, hint: int | None
) -> None:
    spool = MessageSpool(files, hint)
    await write(spool, octets, step)
    assert spool.size == len(octets)
    result = await spool.finish()
    assert result.facts == scan(octets)
    assert result.blob.size == len(octets)
    assert result.blob.digest == hashlib.sha256(octets).digest()
    if result.blob.kind == "inline":
        assert result.blob.octets == octets
        assert litter(files) == []
    else:
        assert files.path(result.blob.key).read_bytes() == octets
        assert litter(files) == [result.blob.key]


async def test_a_file_and_its_name_are_synced_before_the_end(
    files: FileBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    spool = MessageSpool(files)
    await write(spool, LARGE, 50_000)
    assert synced == []
    await spool.finish()
    assert synced == ["file", "directory"]


async def test_abort_leaves_nothing(files: FileBlobs) -> None:
    for step in (1000, BLOCK, len(LARGE)):
        spool = MessageSpool(files)
        await write(spool, LARGE, step)
        spool.abort()
        spool.abort()
    for _ in range(200):
        if not litter(files):
            break
        await asyncio.sleep(0.01)
    assert litter(files) == []
    spool = MessageSpool(files)
    spool.write(SMALL)
    spool.abort()


async def test_the_sender_waits_for_the_disk(files: FileBlobs) -> None:
    gate = asyncio.Event()
    started = 0

    async def slow(work: Callable[[], Any]) -> Any:
        await gate.wait()
        return work()

    def start(work: Callable[[], Any]) -> Any:
        nonlocal started
        started += 1
        return asyncio.ensure_future(slow(work))

    files.run = start
    spool = MessageSpool(files, 1 << 20)
    first = spool.write(b"x" * BLOCK)
    assert first is not None
    await first
    second = spool.write(b"y" * BLOCK)
    assert second is not None
    waiting = asyncio.ensure_future(second)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert started == 1
    gate.set()
    await waiting
    result = await spool.finish()
    assert files.path(result.blob.key).read_bytes() == b"x" * BLOCK + b"y" * BLOCK


@pytest.mark.parametrize(
    ("code", "error", "latched"),
    [(errno.ENOSPC, StorageFull, False), (errno.EDQUOT, StorageFull, False), (errno.EIO, Unavailable, True)],
)
@pytest.mark.parametrize("call", ["write", "fsync"])
async def test_failures_of_the_disk(
    files: FileBlobs,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    error: type[Unavailable],
    latched: bool,
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    spool = MessageSpool(files)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(error):
            await whole(spool, LARGE, 30_000)
        spool.abort()
    assert litter(files) == []
    assert (files.failed is not None) is latched
    if latched:
        with pytest.raises(Unavailable):
            MessageSpool(files, 1 << 20)
    else:
        again = MessageSpool(files)
        await write(again, LARGE, 30_000)
        await again.finish()


async def test_finishing_twice_is_a_bug(files: FileBlobs) -> None:
    spool = MessageSpool(files)
    spool.write(SMALL)
    await spool.finish()
    with pytest.raises(RuntimeError):
        spool.write(b"more")


def test_keys_are_checked(files: FileBlobs) -> None:
    for key in ("../x", "ab/../../etc/passwd", "", "ab/" + "0" * 29, "AB/" + "0" * 30):
        with pytest.raises(Corrupt):
            files.open(key, 1)
