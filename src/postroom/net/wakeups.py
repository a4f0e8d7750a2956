"""Wake-ups between workers: "account A is at modseq M", as unix datagrams.

Invariants: a wake-up is a hint. It may be lost (a full buffer, a worker that is restarting) or doubled; readers look for
themselves, also on a slow timer. So sending never blocks and never fails the sender.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from postroom.model.ids import AccountId, Modseq

_FORMAT: Final = struct.Struct("!QQ")
_MOST_PER_DATAGRAM: Final = 512


class WakeupChannel:
    """One worker's end: receives at ``path`` and sends to its siblings' paths."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        siblings: list[Path],
        received: Callable[[AccountId, Modseq], None],
    ) -> None:
        self._loop = loop
        self._siblings = [str(sibling) for sibling in siblings]
        self._received = received
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        self._waiting: dict[AccountId, Modseq] = {}
        loop.add_reader(self._socket.fileno(), self._read)

    def send(self, account: AccountId, modseq: Modseq) -> None:
        """Tell the siblings, together with whatever else changes in this turn of the loop."""
        if not self._siblings:
            return
        if not self._waiting:
            self._loop.call_soon(self._send_waiting)
        self._waiting[account] = modseq

    def close(self) -> None:
        """Stop receiving and sending."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _send_waiting(self) -> None:
        waiting, self._waiting = list(self._waiting.items()), {}
        for first in range(0, len(waiting), _MOST_PER_DATAGRAM):
            datagram = b"".join(_FORMAT.pack(*pair) for pair in waiting[first : first + _MOST_PER_DATAGRAM])
            for sibling in self._siblings:
                try:
                    self._socket.sendto(datagram, sibling)
                except OSError:
                    # Lost on purpose: the sibling is full or restarting and will look on its slow timer.
                    continue

    def _read(self) -> None:
        for _ in range(64):
            try:
                datagram = self._socket.recv(_FORMAT.size * _MOST_PER_DATAGRAM)
            except OSError:
                return
            if len(datagram) % _FORMAT.size:
                continue
            for account, modseq in _FORMAT.iter_unpack(datagram):
                self._received(AccountId(account), Modseq(modseq))
