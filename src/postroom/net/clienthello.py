"""Reads what a TLS ClientHello asks for, before OpenSSL sees it.

Purpose: Python's ssl completes a handshake whose ALPN offer matches nothing; the defence against cross-protocol attacks
needs the offer itself (RFC 7301 §3.2). So the first flight is looked at here.

Invariants: pure; bounded (a ClientHello over 16 KiB is refused); never raises on any input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

MAX_HELLO: Final = 1 << 14
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_EXT_SERVER_NAME: Final = 0
_EXT_ALPN: Final = 16

NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"
"""A fatal alert 120 in a record of its own (RFC 7301 §3.2)."""


class Incomplete(Enum):
    """More octets are needed."""

    INCOMPLETE = "incomplete"


INCOMPLETE: Final = Incomplete.INCOMPLETE


@dataclass(slots=True, frozen=True)
class ClientHello:
    """``alpn`` is None when the extension is absent. ``valid`` is False for what is no ClientHello. ``random`` has 32 octets."""

    valid: bool = True
    alpn: tuple[str, ...] | None = None
    server_name: str | None = None
    random: bytes = field(default=b"", compare=False)


_INVALID: Final = ClientHello(valid=False)


def parse_client_hello(flight: bytes) -> ClientHello | Incomplete:
    """Read the first flight of a client: one or more handshake records that carry a ClientHello (RFC 8446 §4.1.2)."""
    hello = bytearray()
    at = 0
    while True:
        if len(flight) > at and flight[at] != _HANDSHAKE:
            return _INVALID
        if len(flight) < at + 5:
            return INCOMPLETE
        length = int.from_bytes(flight[at + 3 : at + 5], "big")
        if flight[at + 1] != 3 or not 0 < length <= MAX_HELLO:
            return _INVALID
        hello += flight[at + 5 : at + 5 + length]
        if hello and hello[0] != _CLIENT_HELLO:
            return _INVALID
        if len(hello) >= 4:
            needed = int.from_bytes(hello[1:4], "big")
            if needed > MAX_HELLO:
                return _INVALID
            if len(hello) >= 4 + needed:
                return _parse_body(bytes(hello[4 : 4 + needed]))
        if len(flight) < at + 5 + length:
            return INCOMPLETE
        at += 5 + length


def _parse_body(body: bytes) -> ClientHello:
    at = 34
    if len(body) <= at:
        return _INVALID
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    if len(body) <= at:
        return _INVALID
    at += 1 + body[at]
    if at >= len(body):
        return ClientHello(random=body[2:34])
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    at += 2
    if end > len(body):
        return _INVALID
    alpn: tuple[str, ...] | None = None
    name: str | None = None
    while at + 4 <= end:
        kind = int.from_bytes(body[at : at + 2], "big")
        length = int.from_bytes(body[at + 2 : at + 4], "big")
        value = body[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == _EXT_ALPN:
            alpn = _parse_alpn(value)
        elif kind == _EXT_SERVER_NAME and len(value) > 5 and value[2] == 0:
            name = value[5 : 5 + int.from_bytes(value[3:5], "big")].decode("ascii", "replace")
    return ClientHello(alpn=alpn, server_name=name, random=body[2:34])


def _parse_alpn(value: bytes) -> tuple[str, ...]:
    names = []
    at = 2
    while at < len(value):
        length = value[at]
        names.append(value[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    return tuple(names)
