"""Commands that read and mark a maildrop: STAT, LIST, RETR, DELE, NOOP, RSET, TOP, UIDL (RFC 1939 §5, §7).

Invariants: octets are sent as stored, sizes are exact; a message or listing passes through in pieces, and the peer is waited
for.

It must not know: how messages are stored, sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from postroom.model.errors import Corrupt
from postroom.model.message import Octets
from postroom.session.maildrop import Turn
from postroom.session.pop3.basics import summary
from postroom.wire.pop3.body import TopCutter
from postroom.wire.pop3.catalogue import Phrase
from postroom.wire.pop3.commands import Dele, List, Noop, Retr, Rset, Stat, Top, Uidl
from postroom.wire.pop3.replies import BodyBegin, BodyChunk, BodyEnd, Ok

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session

_PIECE: Final = 1 << 16
"""Octets of a message read at a time."""
_HIGH_WATER: Final = 1 << 18
"""Octets of output after which the peer is waited for."""


async def stat(session: Pop3Session, _command: Stat) -> None:
    """STAT."""
    maildrop = session.opened()[1]
    session.engine.send(Ok(f"{maildrop.count} {maildrop.octets}"))


async def list_messages(session: Pop3Session, command: List) -> None:
    """LIST."""
    maildrop = session.opened()[1]
    if command.number is None:
        if session.surrogates is not None:
            await session.surrogates.measure()
        lines = await maildrop.scan_lines()
        await send_lines(session, summary(maildrop), lines)
    else:
        size = await (session.surrogates or maildrop).size(command.number)
        session.engine.send(Ok(f"{command.number} {size}"))


async def uidl(session: Pop3Session, command: Uidl) -> None:
    """UIDL."""
    maildrop = session.opened()[1]
    if command.number is None:
        await send_lines(session, "Unique ids follow", await maildrop.unique_id_lines())
    else:
        unique_id = await maildrop.unique_id(command.number)
        session.engine.send(Ok(f"{command.number} {unique_id}"))


async def retr(session: Pop3Session, command: Retr) -> None:
    """RETR."""
    octets = await session.message(command.number)
    await send_body(session, octets, Phrase("{} octets", octets.size), None)
    session.retrieved.add(command.number)
    session.last = max(session.last, command.number)


async def top(session: Pop3Session, command: Top) -> None:
    """TOP."""
    octets = await session.message(command.number)
    await send_body(session, octets, "Top of message follows", TopCutter(command.lines))
    session.last = max(session.last, command.number)


async def dele(session: Pop3Session, command: Dele) -> None:
    """DELE."""
    await session.opened()[1].mark(command.number)
    session.last = max(session.last, command.number)
    session.engine.send(Ok(Phrase("Message {} deleted", command.number)))


async def noop(session: Pop3Session, _command: Noop) -> None:
    """NOOP."""
    session.engine.send(Ok())


async def rset(session: Pop3Session, _command: Rset) -> None:
    """RSET."""
    maildrop = session.opened()[1]
    maildrop.reset()
    session.last = 0
    session.engine.send(Ok(summary(maildrop)))


async def send_body(session: Pop3Session, octets: Octets, text: str, cutter: TopCutter | None) -> None:
    """Stream a message, or the part the cutter passes. What goes wrong at the first piece is an -ERR; later the reply
    cannot be completed and the connection ends."""
    engine, size, offset = session.engine, octets.size, 0
    while True:
        piece = octets.read(offset, _PIECE)
        if not isinstance(piece, bytes):
            piece = await piece
        if not piece and offset < size:
            raise Corrupt(private=f"message ends at {offset} of {size}")
        if offset == 0:
            engine.send(BodyBegin(text))
        offset += len(piece)
        engine.send(BodyChunk(cutter.write(piece) if cutter else piece))
        if offset >= size or (cutter is not None and cutter.done):
            break
        if engine.output_size > _HIGH_WATER:
            await session.transport.flush()
    engine.send(BodyEnd())


async def send_lines(session: Pop3Session, text: str, pieces: Iterator[bytes]) -> None:
    """A listing; a very long one goes out in pieces, and the others of this worker have their turn."""
    engine = session.engine
    engine.send(BodyBegin(text))
    for lines in pieces:
        engine.send(BodyChunk(lines))
        if engine.output_size > _HIGH_WATER:
            await session.transport.flush()
            await Turn()
    engine.send(BodyEnd())


HANDLERS: Final[Handlers] = {
    Stat: stat,
    List: list_messages,
    Uidl: uidl,
    Retr: retr,
    Top: top,
    Dele: dele,
    Noop: noop,
    Rset: rset,
}
