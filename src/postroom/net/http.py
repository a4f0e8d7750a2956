"""One HTTP request to a server that we were told to ask: for introspection of tokens (RFC 7662).

Invariants: the whole exchange has one time limit and the response one size limit; a redirect is a response like any other;
certificates are verified; nothing is ever sent to another host than the URL's.

It must not know: what is asked and answered.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlencode, urlsplit

from postroom.model.errors import Unavailable
from postroom.net.dial import ClientConnection, dial

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)


@dataclass(slots=True, frozen=True)
class Response:
    """``body`` without transfer coding."""

    status: int
    body: bytes


async def post_form(
    url: str,
    fields: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    context: ssl.SSLContext | None,
    seconds: float,
    largest: int,
) -> Response:
    """POST a form to ``url`` (https needs a ``context``) and take a response of at most ``largest`` octets, its head included.

    Raises Unavailable when there is none within ``seconds``, or none that can be read.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    body = urlencode(fields).encode()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = {
        "Host": parts.netloc,
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    tls = parts.scheme == "https"
    assert context is not None or not tls
    try:
        async with asyncio.timeout(seconds):
            connection = await dial(
                host,
                parts.port or (443 if tls else 80),
                tls=context if tls else None,
                patience=seconds,
            )
            try:
                await connection.send([head.encode("ascii") + b"\r\n" + body])
                octets = await _receive(connection, largest)
            finally:
                await connection.close()
    except TimeoutError as error:
        raise Unavailable(private=f"{host} did not answer in time") from error
    return _parse(octets, host)


async def _receive(connection: ClientConnection, largest: int) -> bytes:
    """The whole response: to its end as far as it tells, otherwise to the end of the connection."""
    octets = bytearray()
    while not _complete(octets):
        more = await connection.receive()
        if not more:
            break
        octets += more
        if len(octets) > largest:
            raise Unavailable(private=f"a response of more than {largest} octets")
    return bytes(octets)


def _complete(octets: bytearray) -> bool:
    """Whether the response is over although the connection is not: for servers that keep it open."""
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = octets[: end + 2]
    if _CHUNKED.search(head):
        return octets.endswith(b"\r\n0\r\n\r\n")
    length = _LENGTH.search(head)
    return length is not None and len(octets) >= end + 4 + int(length[1])


class _Received:
    """What ``http.client`` takes for a socket."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._octets)


def _parse(octets: bytes, host: str) -> Response:
    response = http.client.HTTPResponse(cast("http.client.socket", _Received(octets)), method="POST")  # type: ignore[name-defined]
    try:
        response.begin()
        return Response(response.status, response.read())
    except (http.client.HTTPException, ValueError) as error:
        raise Unavailable(private=f"{host} answered with something else than HTTP") from error
    finally:
        response.close()
