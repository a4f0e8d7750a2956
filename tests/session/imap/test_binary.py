"""Large parts are decoded in a stream, never held whole."""

from __future__ import annotations

import base64
import random

import pytest

from postroom.mime.scanner import scan
from postroom.mime.structure import dump_structure
from postroom.session.imap.binary import BinaryReader, Decoded
from postroom.session.imap.turn import Turn
from postroom.store.api import Row
from postroom.wire.output import BlobSlice

CONTENT = random.Random(7).randbytes(300_000)
MESSAGE = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(CONTENT).replace(b"\n", b"\r\n")
    + b"--b--\r\n"
)


class Stored:
    """Octets that are not at hand, in reads that are counted."""

    def __init__(self) -> None:
        self.size = len(MESSAGE)
        self.largest = 0

    async def read(self, offset: int, length: int) -> bytes:
        self.largest = max(self.largest, length)
        return MESSAGE[offset : offset + length]


def row_of(stored: Stored) -> Row:
    return stored, dump_structure(scan(MESSAGE).root)


def reader(partial: tuple[int, int] | None = None, *, size: bool = False) -> BinaryReader:
    return BinaryReader((2,), partial, b"BINARY[2]", 0, 1, Turn, size=size)


async def sent(piece: BlobSlice, at_a_time: int) -> bytes:
    """What the driver sends of a slice."""
    offset, left, got = piece.offset, piece.length, []
    while left:
        found = piece.source.read(offset, min(left, at_a_time))
        octets = found if isinstance(found, bytes) else await found
        assert octets
        got.append(octets)
        offset += len(octets)
        left -= len(octets)
    return b"".join(got)


@pytest.mark.parametrize("at_a_time", [1_000, 65_536, 1_000_000])
@pytest.mark.parametrize("partial", [None, (0, 10), (99_999, 100_001), (299_999, 5), (0, 4_000_000)])
async def test_a_large_part(partial: tuple[int, int] | None, at_a_time: int) -> None:
    stored = Stored()
    found = await reader(partial).read(row_of(stored))
    assert isinstance(found, Decoded)
    assert isinstance(found.octets, BlobSlice)
    assert found.nul
    first, count = partial or (0, len(CONTENT))
    assert await sent(found.octets, at_a_time) == CONTENT[first : first + count]
    assert stored.largest <= 65_536


async def test_its_size_and_what_is_beyond_it() -> None:
    stored = Stored()
    assert await reader(size=True).read(row_of(stored)) == len(CONTENT)
    assert await reader((300_000, 1)).read(row_of(stored)) == Decoded(b"", nul=False)
