"""Starts postroom: takes the data directory, binds every socket, drops privileges, supervises the children.

Invariants: one server on a data directory (a lock that the whole process tree holds); sockets are bound before
privileges are dropped; nothing is printed or announced as ready before every child is.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from postroom.app import metrics
from postroom.config.paths import DataDir
from postroom.config.settings import Listener, Settings
from postroom.model.errors import PostroomError
from postroom.net.listeners import bind, bind_unix
from postroom.net.notify import sd_notify
from postroom.net.supervisor import Child, Supervisor, drop_privileges, harden

_log = structlog.get_logger("postroom")

SOCKET_MODE: Final = 0o660


class AlreadyRunning(PostroomError):
    """Another process works on the data directory."""

    default_public = "Another postroom is running on this data directory"


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


def serve(settings: Settings, on_ready: Callable[[], None] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. ``on_ready`` is called in the parent once all children serve.

    Raises AlreadyRunning, CannotListen, OSError (data directory), KeyError (unknown user).
    """
    data = DataDir(settings.data_dir)
    data.make()
    lock = take_lock(data)
    try:
        metrics.prepare(data.run / "metrics")
        from postroom.app import background, worker  # only now: they import prometheus_client

        workers = worker_count(settings)
        bound = bind_all(settings, data, workers)
        status = bind(settings.metrics.address, settings.metrics_port) if settings.metrics.enabled else None
        if settings.user and os.geteuid() == 0:
            shutil.chown(data.run / "metrics", settings.user)
            drop_privileges(settings.user)
        harden()
        children = [
            Child(f"worker-{number}", partial(worker.main, settings, number, workers, bound))
            for number in range(workers)
        ]
        children.append(Child("background", partial(background.main, settings, workers, status)))

        def ready() -> None:
            write_state(settings, data, bound)
            sd_notify(f"READY=1\nMAINPID={os.getpid()}")
            _log.info("ready", workers=workers, data_dir=str(data.root))
            if on_ready is not None:
                on_ready()

        try:
            status_code = Supervisor(children, on_ready=ready).run()
        finally:
            sd_notify("STOPPING=1")
            data.state.unlink(missing_ok=True)
        _log.info("stopped")
        return status_code
    finally:
        os.close(lock)


def worker_count(settings: Settings) -> int:
    """How many workers to run: as configured, or as many as this process may use cores."""
    return settings.workers or len(os.sched_getaffinity(0))


def take_lock(data: DataDir) -> int:
    """Lock the data directory for this process and its children; returns the descriptor. Raises AlreadyRunning."""
    descriptor = os.open(data.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(private=f"{data.lock} is locked") from None
    return descriptor


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


def write_state(settings: Settings, data: DataDir, bound: list[BoundListener]) -> None:
    """Say in a file what runs: read by ``postroom status``. Written whole or not at all."""
    state: dict[str, Any] = {
        "pid": os.getpid(),
        "workers": worker_count(settings),
        "started": int(time.time()),
        "hostname": settings.hostname or socket.getfqdn(),
        "metrics": f"http://{settings.metrics.address}:{settings.metrics_port}"
        if settings.metrics.enabled
        else None,
        "listeners": [
            {
                "protocol": str(one.listener.protocol),
                "address": None if one.listener.socket else one.listener.address,
                "port": one.listener.port,
                "socket": str(data.root / one.listener.socket) if one.listener.socket else None,
                "tls": str(one.listener.tls),
            }
            for one in bound
        ],
    }
    temporary = Path(f"{data.state}.new")
    temporary.write_text(json.dumps(state, indent=2) + "\n")
    temporary.chmod(0o600)
    temporary.replace(data.state)
