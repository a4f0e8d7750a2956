"""Writers that keep a ledger: every message they send, and whether the server said that it has it.

Plain asyncio streams on purpose: no code of postroom takes part in deciding what was acknowledged.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass, field
from typing import Final

TOKEN: Final = b"X-Token: "


@dataclass
class Ledger:
    """``sent`` maps a message's token to the SHA-256 of its octets; ``acknowledged`` holds the tokens answered with success."""

    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    ways: dict[str, str] = field(default_factory=dict)

    def message(self, way: str, size: int) -> tuple[str, bytes]:
        """A message of about ``size`` octets that no other is like, entered into the ledger."""
        token = f"{way}-{len(self.sent)}-{random.getrandbits(64):016x}"
        filler = hashlib.shake_128(token.encode()).hexdigest(max(8, size // 2 - 100)).encode()
        lines = b"\r\n".join(filler[at : at + 76] for at in range(0, len(filler), 76))
        octets = TOKEN + token.encode() + b"\r\nSubject: crash test\r\n\r\n" + lines + b"\r\n"
        self.sent[token] = hashlib.sha256(octets).hexdigest()
        self.ways[token] = way
        return token, octets


def size_of_next() -> int:
    """Mostly small, sometimes beyond what is kept inline."""
    return random.choice((700, 3000, 4000, 9000, 30_000, 120_000))


class Refused(Exception):
    """The server answered something else than success."""


async def _expect(reader: asyncio.StreamReader, *prefixes: bytes) -> bytes:
    while True:
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("end of input")
        if line[3:4] == b"-" and line[:3].isdigit():
            continue
        if not line.startswith(prefixes):
            raise Refused(line.decode(errors="replace"))
        return line


async def smtp_writer(port: int, recipient: str, ledger: Ledger, *, lmtp: bool) -> None:
    """Deliver messages over one SMTP or LMTP connection until it breaks."""
    way = "lmtp" if lmtp else "smtp"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await _expect(reader, b"220")
        writer.write((b"LHLO" if lmtp else b"EHLO") + b" client.example.test\r\n")
        await _expect(reader, b"250")
        while True:
            token, octets = ledger.message(way, size_of_next())
            writer.write(b"MAIL FROM:<sender@elsewhere.test>\r\n")
            await _expect(reader, b"250")
            writer.write(b"RCPT TO:<" + recipient.encode() + b">\r\n")
            await _expect(reader, b"250")
            writer.write(b"DATA\r\n")
            await _expect(reader, b"354")
            writer.write(octets + b".\r\n")
            await writer.drain()
            await _expect(reader, b"250")
            ledger.acknowledged.add(token)
    finally:
        writer.close()


async def imap_writer(port: int, user: str, password: str, mailbox: str, ledger: Ledger) -> None:
    """APPEND messages over one IMAP connection until it breaks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await _expect(reader, b"* OK")
        writer.write(f'a LOGIN "{user}" "{password}"\r\n'.encode())
        await _tagged(reader, b"a ")
        while True:
            token, octets = ledger.message("imap", size_of_next())
            writer.write(b"b APPEND " + mailbox.encode() + b" (\\Flagged) {%d}\r\n" % len(octets))
            await _expect(reader, b"+")
            writer.write(octets + b"\r\n")
            await writer.drain()
            await _tagged(reader, b"b ")
            ledger.acknowledged.add(token)
    finally:
        writer.close()


async def _tagged(reader: asyncio.StreamReader, tag: bytes) -> None:
    while True:
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("end of input")
        if line.startswith(tag):
            if not line.startswith(tag + b"OK"):
                raise Refused(line.decode(errors="replace"))
            return
