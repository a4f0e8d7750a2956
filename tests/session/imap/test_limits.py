"""What one client can make the server hold, and how long it can keep others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.session.imap.append import MAX_MESSAGES
from postroom.store.directory import Directory
from tests.transcripts.harness import Case, FakeClock, FakeTransport
from tests.transcripts.imap_scene import ImapScene
from tests.transcripts.pop3_scene import make_directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    yield made
    made.close()


async def _connected(scene: ImapScene, number: int) -> FakeTransport:
    transport = FakeTransport(number, FakeClock())
    transport.start(*scene.open(transport))
    await _until(transport, b"PREAUTH")
    return transport


async def _until(transport: FakeTransport, text: bytes) -> None:
    for _ in range(100_000):
        if text in transport.output:
            return
        await asyncio.sleep(0)
    raise AssertionError(bytes(transport.output[-200:]))


async def test_an_append_has_a_limited_number_of_messages(directory: Directory) -> None:
    scene = ImapScene(Case(Path("limits"), {}, []), directory, FakeClock())
    await scene.prepare()
    client = await _connected(scene, 1)
    client.feed(b"a APPEND INBOX" + b" {4+}\r\nx: y" * (MAX_MESSAGES + 1) + b"\r\n")
    await _until(client, b"a NO [LIMIT]")
    client.feed(b"b APPEND INBOX" + b" {4+}\r\nx: y" * MAX_MESSAGES + b"\r\n")
    await _until(client, b"b OK [APPENDUID")
    assert scene.store.inner.mailbox(scene.alice, "INBOX").messages == MAX_MESSAGES
    await client.gone()


async def test_others_have_their_turn_during_a_long_answer(directory: Directory) -> None:
    scene = ImapScene(Case(Path("limits"), {"given": ["mail 2000"]}, []), directory, FakeClock())
    await scene.prepare()
    first, second = await _connected(scene, 1), await _connected(scene, 2)
    first.feed(b"a SELECT INBOX\r\n")
    await _until(first, b"a OK")
    first.feed(b"b FETCH 1:* (FLAGS UID)\r\n")
    second.feed(b"c NOOP\r\n")
    await _until(second, b"c OK")
    assert b"b OK" not in first.output
    await _until(first, b"b OK")
    for transport in (first, second):
        await transport.gone()
