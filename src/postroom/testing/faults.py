"""Failures to order: refused recipients, slow answers.

Invariants: a session with nothing ordered behaves exactly as without this module. A delayed session does not hold up
another, and goes on at once when the delay is taken back.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from postroom.model.address import Address
from postroom.session.transport import Session
from postroom.wire.events import Engine
from postroom.wire.smtp.commands import Rcpt
from postroom.wire.smtp.replies import Reply
from postroom.wire.smtp.server import SmtpServer

_ENHANCED: Final = re.compile(r"([45]\.\d{1,3}\.\d{1,3}) +(.*)", re.DOTALL)
_CLOSING: Final = 421


class Faults:
    """What has been ordered, and the sessions it concerns."""

    def __init__(self) -> None:
        self._delay = 0.0
        self._changed = asyncio.Event()
        self._refused: dict[str, Reply] = {}
        self._sessions: set[_FaultySession] = set()

    @property
    def sessions(self) -> int:
        """Sessions that have not ended."""
        return len(self._sessions)

    def delay(self, seconds: float) -> None:
        """Wait so long before every answer; sessions that wait already go on now. Raises ValueError."""
        if not 0 <= seconds < float("inf"):
            raise ValueError("a delay is a number of seconds, 0 for none")
        self._delay = seconds
        self._changed.set()
        self._changed = asyncio.Event()

    def refuse(self, recipient: str, code: int, text: str) -> None:
        """Answer RCPT for this address so; an enhanced code may lead the text. Raises ValueError for a code that refuses
        nothing, or a text that is no reply."""
        if not 400 <= code <= 599:
            raise ValueError(f"{code} refuses nothing: codes are 400 to 599")
        if not text.isascii() or not text.isprintable():
            raise ValueError("the text of a reply is one line of printable ASCII")
        found = _ENHANCED.fullmatch(text)
        if found is not None and found[1][0] != str(code)[0]:
            raise ValueError(f"{found[1]} does not go with {code}")
        reply = Reply(code, found[2], found[1]) if found is not None else Reply(code, text)
        self._refused[recipient.lower()] = reply

    def accept(self, recipient: str) -> None:
        """Take back ``refuse``."""
        self._refused.pop(recipient.lower(), None)

    def clear(self) -> None:
        """Take back everything."""
        self.delay(0.0)
        self._refused.clear()

    def refusal(self, recipient: Address) -> Reply | None:
        """The ordered reply for a recipient."""
        return self._refused.get(str(recipient).lower()) if self._refused else None

    def wrap(self, engine: Engine[Any], session: Session) -> Session:
        """The session with the faults in front of it."""
        wrapped = _FaultySession(self, engine, session)
        self._sessions.add(wrapped)
        return wrapped

    def ended(self, session: _FaultySession) -> None:
        """It has nothing to do any more."""
        self._sessions.discard(session)

    async def wait(self) -> None:
        """What comes before an answer."""
        if self._delay:
            # Not asyncio.timeout, which asks for a task: a command may be begun outside of one.
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({changed}, timeout=self._delay)
            finally:
                changed.cancel()


class _FaultySession:
    """Implements ``session.transport.Session``."""

    def __init__(self, faults: Faults, engine: Engine[Any], session: Session) -> None:
        self._faults = faults
        self._engine = engine
        self._session = session

    async def begin(self) -> None:
        await self._faults.wait()
        await self._session.begin()

    async def handle(self, event: Any) -> None:
        await self._faults.wait()
        if isinstance(event, Rcpt) and isinstance(self._engine, SmtpServer):
            reply = self._faults.refusal(event.recipient)
            if reply is not None:
                say = self._engine.dismiss if reply.code == _CLOSING else self._engine.refuse
                say(reply)
                return
        await self._session.handle(event)

    async def woken(self) -> None:
        await self._session.woken()

    async def shutting_down(self) -> None:
        await self._session.shutting_down()

    async def failed(self, error_id: str) -> None:
        await self._session.failed(error_id)

    async def end(self) -> None:
        try:
            await self._session.end()
        finally:
            self._faults.ended(self)
