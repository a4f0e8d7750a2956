"""Counting connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

from postroom.net.limits import ConnectionCounter, ConnectionLimits, network_of
from postroom.net.tls import server_context
from tests.net.echo import EchoServer


def test_per_address_and_per_network() -> None:
    counter = ConnectionCounter(ConnectionLimits(per_address=2, per_network=3, total=100))
    assert [counter.admit("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert counter.admit("192.0.2.2")
    assert not counter.admit("192.0.2.3")
    assert counter.admit("198.51.100.1")
    counter.release("192.0.2.1")
    assert counter.admit("192.0.2.3")
    assert counter.open == 4


def test_loopback_counts_only_in_all() -> None:
    counter = ConnectionCounter(ConnectionLimits(per_address=1, per_network=1, total=5))
    assert [counter.admit("127.0.0.1") for _ in range(6)] == [True] * 5 + [False]
    for _ in range(5):
        counter.release("127.0.0.1")
    assert counter.open == 0


def test_networks() -> None:
    assert network_of("192.0.2.77") == "192.0.2.0/24"
    assert network_of("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert network_of("::ffff:192.0.2.77") == "192.0.2.0/24"
    assert network_of("::1") is None
    assert network_of("") is None
    assert network_of("nonsense") is None


async def test_a_full_service_says_so() -> None:
    async with EchoServer(limits=ConnectionLimits(total=1)) as server:
        first, first_writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await first.readline() == b"hello\r\n"
        second, second_writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(20):
            assert await second.read() == b"full\r\n"
        second_writer.close()
        first_writer.close()
        async with asyncio.timeout(20):
            while server.service.connections:
                await asyncio.sleep(0.01)
        third, third_writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await third.readline() == b"hello\r\n"
        third_writer.close()
        assert server.meter.events.count("refused") == 1


async def test_a_banned_address_is_told_so_and_let_in_when_it_no_longer_is() -> None:
    banned = {"127.0.0.1"}
    async with EchoServer(banned=banned.__contains__) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(20):
            assert await reader.read() == b"go away\r\n"
        writer.close()
        assert server.sessions == []
        assert server.meter.events == ["refused"]
        banned.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(20):
            assert await reader.readline() == b"hello\r\n"
        writer.close()


async def test_a_banned_address_gets_no_handshake(certificate: tuple[Path, Path]) -> None:
    context = server_context(*certificate, "imap")
    async with EchoServer(context, tls="implicit", banned=lambda _address: True) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
