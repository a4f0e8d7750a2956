"""The listening sockets of the process tree, bound once by the parent.

Invariants: a port that anybody else listens on is refused, although the workers' own sockets share theirs; every socket listens
from here on, so that connections wait while a worker starts or is restarted.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from postroom.config.paths import DataDir
from postroom.config.settings import Listener, Settings
from postroom.model.errors import PostroomError
from postroom.net.listeners import bind, bind_unix

SOCKET_MODE: Final = 0o660


class CannotListen(PostroomError):
    """A socket could not be bound."""


@dataclass(slots=True, frozen=True)
class BoundListener:
    """A listener and its sockets: one for each worker, or a single one that all share (unix sockets)."""

    listener: Listener
    sockets: tuple[socket.socket, ...]

    def for_worker(self, number: int) -> socket.socket:
        """The socket that this worker accepts on."""
        return self.sockets[number % len(self.sockets)]


def bind_all(settings: Settings, data: DataDir, workers: int) -> list[BoundListener]:
    """Bind every configured listener. Raises CannotListen, naming the one that failed."""
    bound: list[BoundListener] = []
    for listener in settings.listeners:
        try:
            if listener.socket is not None:
                path = data.root / listener.socket
                sockets: tuple[socket.socket, ...] = (bind_unix(path, SOCKET_MODE),)
            else:
                assert listener.port is not None
                port = listener.port
                # Sockets that share a port do not notice one another: ask first whether anybody else has it.
                bind(listener.address, port, reuse_port=False).close()
                sockets = tuple(bind(listener.address, port) for _ in range(workers))
        except OSError as error:
            where = listener.socket or f"{listener.address}:{listener.port}"
            raise CannotListen(
                f"cannot listen for {listener.protocol} on {where}: {error.strerror or error}"
            ) from error
        # Listening begins here, so that connections wait in the backlog while a worker starts or is restarted.
        for one in sockets:
            one.listen(511)
        bound.append(BoundListener(listener, sockets))
    return bound
