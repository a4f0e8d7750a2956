"""The server inside a test's own event loop."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
import threading
from collections.abc import AsyncIterator

import pytest

from postroom.testing import InProcessServer

ANN, SECRET = "ann@example.test", "secret"


@pytest.fixture
async def server() -> AsyncIterator[InProcessServer]:
    async with InProcessServer() as server:
        await server.add_account(ANN, SECRET)
        yield server


def send(server: InProcessServer, subject: str) -> None:
    """What blocks runs in a thread, while the test's loop serves."""
    with smtplib.SMTP(*server.smtp) as client:
        client.sendmail("bob@elsewhere.test", [ANN], f"Subject: {subject}\r\n\r\n")


def count(server: InProcessServer) -> bytes | None:
    with imaplib.IMAP4(*server.imap) as imap:
        imap.login(ANN, SECRET)
        return imap.select()[1][0]


async def test_mail_comes_and_is_read(server: InProcessServer) -> None:
    waiting = asyncio.create_task(server.wait_for_message(ANN))
    await asyncio.to_thread(send, server, "hello")
    assert (await waiting).subject == "hello"
    assert [each.subject for each in await server.messages(ANN)] == ["hello"]
    assert await asyncio.to_thread(count, server) == b"1"


async def test_faults_and_reset(server: InProcessServer) -> None:
    server.refuse(ANN, 451, "Later")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        await asyncio.to_thread(send, server, "hello")
    assert refused.value.recipients == {ANN: (451, b"Later")}
    await server.reset()
    assert await server.outgoing() == []
    await server.add_account(ANN, SECRET)
    server.add_alias("all@example.test", ANN)
    await server.deliver("all@example.test", "Subject: x\n\n")
    assert server.mailboxes(ANN)
    assert len(await server.messages(ANN)) == 1


async def test_waiting_can_be_cancelled(server: InProcessServer) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await server.wait_for_message(ANN, timeout=3600)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await server.wait_for_outgoing(timeout=3600)


async def test_stop_leaves_no_task_and_no_thread() -> None:
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    for tls in (False, True):
        server = InProcessServer(tls=tls)
        async with server:
            await server.add_account(ANN, SECRET)
            with pytest.raises(RuntimeError, match="runs already"):
                await server.start()
            reader, writer = await asyncio.open_connection(*server.imap)
            assert (await reader.readline()).startswith(b"* OK")
            server.delay(3600)
            delayed = await asyncio.open_connection(*server.smtp)
            await asyncio.sleep(0.01)
        assert (await reader.read()).startswith(b"* BYE")
        assert (await delayed[0].read())[:3] in (b"220", b"421", b"")
        for each in (writer, delayed[1]):
            each.close()
            await each.wait_closed()
        await server.stop()
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) == threads
