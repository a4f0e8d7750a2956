"""Compression between TLS and the engine, on real sockets and alone."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.net.compression import PIECE, Compression, CompressionFailure
from postroom.net.tls import server_context
from tests.net.echo import EchoServer

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """A peer that deflates."""

    def __init__(self, streams: Streams) -> None:
        self.reader, self.writer = streams
        self.deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.inflate = zlib.decompressobj(-15)
        self.lines = b""

    async def begin(self) -> None:
        self.writer.write(b"COMPRESS\r\n")
        async with asyncio.timeout(20):
            assert await self.reader.readline() == b"hello\r\n"
            assert await self.reader.readline() == b"go\r\n"

    def say(self, octets: bytes, mode: int = zlib.Z_SYNC_FLUSH) -> None:
        self.writer.write(self.deflate.compress(octets) + self.deflate.flush(mode))

    async def hear(self, size: int) -> bytes:
        async with asyncio.timeout(20):
            while len(self.lines) < size:
                got = await self.reader.read(65_536)
                assert got
                self.lines += self.inflate.decompress(got)
        heard, self.lines = self.lines[:size], self.lines[size:]
        return heard


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except (OSError, ssl.SSLError):
        return


@pytest.mark.parametrize("tls", [False, True])
async def test_both_ways(tls: bool, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with EchoServer(server_context(*certificate, "imap"), tls="implicit" if tls else "none") as server:
        client = Client(await asyncio.open_connection("127.0.0.1", server.port, ssl=context if tls else None))
        await client.begin()
        lines = b"".join(b"line %d\r\n" % n for n in range(20_000))
        client.say(lines)
        assert await client.hear(len(lines)) == lines
        client.say(b"BIG\r\n")
        assert await client.hear(3_000_000) == b"x" * 3_000_000
        client.say(b"ASK\r\n")
        assert await client.hear(3) == b"?\r\n"
        client.say(b"it\r\n")
        assert await client.hear(13) == b"you said it\r\n"
        await _close(client.writer)


async def test_it_ends_with_the_peers_stream() -> None:
    async with EchoServer() as server:
        client = Client(await asyncio.open_connection("127.0.0.1", server.port))
        await client.begin()
        client.say(b"one\r\nPLAIN\r\n", zlib.Z_FINISH)
        client.writer.write(b"two\r\n")
        assert await client.hear(9) == b"one\r\ngo\r\n"
        async with asyncio.timeout(20):
            while not client.inflate.eof:
                client.inflate.decompress(await client.reader.read(1))
            rest = client.inflate.unused_data
            assert rest + await client.reader.readexactly(5 - len(rest)) == b"two\r\n"
        await _close(client.writer)


async def test_what_cannot_be_inflated_ends_the_connection() -> None:
    async with EchoServer() as server:
        client = Client(await asyncio.open_connection("127.0.0.1", server.port))
        await client.begin()
        client.writer.write(b"\xff" * 100)
        async with asyncio.timeout(20):
            try:
                assert await client.reader.read() == b""
            except ConnectionResetError:
                pass
        await _close(client.writer)
        assert server.sessions[0].engine.seen == [b"COMPRESS"]


def test_a_bomb_is_inflated_piece_by_piece() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    compression = Compression()
    compression.receive(deflate.compress(bytes(50_000_000)) + deflate.flush())
    found = 0
    while compression.waiting:
        piece = compression.take()
        assert len(piece) <= PIECE
        found += len(piece)
    assert found == 50_000_000


def test_damage_is_told() -> None:
    compression = Compression()
    compression.receive(b"\xff\xff\xff")
    with pytest.raises(CompressionFailure):
        compression.take()
    assert not compression.waiting


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 50))
def test_any_split_of_the_octets(written: list[bytes], step: int) -> None:
    sender, receiver = Compression(), Compression()
    wire = b"".join(map(sender.write, written)) + sender.finish()[0] + b"in clear"
    found = b""
    for at in range(0, len(wire), step):
        receiver.receive(wire[at : at + step])
        while receiver.waiting:
            piece = receiver.take()
            found += piece
            if not piece:
                break
    assert found == b"".join(written) + b"in clear"
