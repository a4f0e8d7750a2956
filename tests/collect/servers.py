"""A maildrop on a server that fails on demand, and a connection that plays a script."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence

from postroom.collect.remote import RemoteMessage, RemoteRefused
from postroom.model.errors import Unavailable
from postroom.session.transport import TlsInfo
from postroom.wire.output import Chunk


class Crash(BaseException):
    """The process ends here: nothing may catch it."""


class Maildrop:
    """What lies on the server: it outlives sessions."""

    def __init__(self, messages: dict[str, bytes]) -> None:
        self.messages = dict(messages)
        self.refused: set[str] = set()
        self.claimed: dict[str, int] = {}
        """Sizes the listing tells instead of the right ones."""
        self.envelopes: dict[str, str] = {}
        """For whom each message is, as far as the server tells."""
        self.fetched: list[str] = []


class FakeMailbox:
    """One session on it. Implements ``collect.remote.RemoteMailbox``; ``step`` is called before everything it does."""

    def __init__(self, drop: Maildrop, step: Callable[[], None] = lambda: None) -> None:
        self._drop = drop
        self._step = step
        self._marked: list[str] = []

    async def listing(self) -> Sequence[RemoteMessage]:
        self._step()
        return [
            RemoteMessage(key, number, self._drop.claimed.get(key, len(octets)))
            for number, (key, octets) in enumerate(self._drop.messages.items(), 1)
        ]

    async def header(self, message: RemoteMessage) -> bytes:
        self._step()
        return self._drop.messages[message.key].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    async def octets(self, message: RemoteMessage) -> AsyncIterator[bytes]:
        self._step()
        if message.key in self._drop.refused:
            raise RemoteRefused(private="[SYS/PERM] damaged")
        self._drop.fetched.append(message.key)
        octets = self._drop.messages[message.key]
        for at in range(0, len(octets), 40):
            self._step()
            yield octets[at : at + 40]

    async def recipient(self, message: RemoteMessage) -> str:
        self._step()
        if message.key in self._drop.refused:
            raise RemoteRefused(private="no such envelope")
        return self._drop.envelopes.get(message.key, "")

    async def delete(self, message: RemoteMessage) -> None:
        self._step()
        self._marked.append(message.key)

    async def close(self) -> None:
        self._step()
        for key in self._marked:
            del self._drop.messages[key]

    async def abandon(self) -> None:
        pass


class ScriptedConnection:
    """A connection on which the server says what a script has for what it is sent.

    ``script``: (expected octets, answer) in order; the greeting stands with nothing expected. An answer of None ends the
    connection.
    """

    def __init__(self, script: Sequence[tuple[bytes, bytes | None]], tls: TlsInfo | None = None) -> None:
        self._script = list(script)
        self._waiting: list[bytes | None] = []
        self.tls = tls
        self.closed = False
        self.said: list[bytes] = []
        self._advance(b"")

    def _advance(self, sent: bytes) -> None:
        expected, answer = self._script.pop(0)
        assert sent == expected, f"sent {sent!r}, expected {expected!r}"
        self._waiting.append(answer)

    async def receive(self) -> bytes:
        if not self._waiting:
            raise Unavailable(private="time-out")
        return self._waiting.pop(0) or b""

    async def receive_within(self, seconds: float) -> bytes | None:
        return await self.receive() if self._waiting else None

    async def send(self, chunks: list[Chunk]) -> None:
        sent = b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))
        self.said.append(sent)
        self._advance(sent)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self.tls = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")

    async def close(self) -> None:
        self.closed = True

    @property
    def finished(self) -> bool:
        """Whether the whole script was played."""
        return not self._script
