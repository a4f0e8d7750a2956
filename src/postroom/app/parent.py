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
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from postroom.app import metrics
from postroom.app.readiness import check_files
from postroom.app.sockets import BoundListener, bind_all
from postroom.config.paths import DataDir
from postroom.config.settings import Settings
from postroom.model.errors import PostroomError
from postroom.net.listeners import bind
from postroom.net.notify import sd_notify
from postroom.net.supervisor import Child, Supervisor, drop_privileges, harden, raise_descriptor_limit

_log = structlog.get_logger("postroom")


class AlreadyRunning(PostroomError):
    """Another process works on the data directory."""

    default_public = "Another postroom is running on this data directory"


def serve(settings: Settings, on_ready: Callable[[], None] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. ``on_ready`` is called in the parent once all children serve.

    Raises AlreadyRunning, CannotListen, CertificateUnusable, OSError (data directory), KeyError (unknown user).
    """
    data = DataDir(settings.data_dir)
    data.make()
    lock = take_lock(data)
    try:
        metrics.prepare(data.run / "metrics")
        from postroom.app import background, worker  # only now: they import prometheus_client

        raise_descriptor_limit()
        workers = worker_count(settings)
        bound = bind_all(settings, data, workers)
        status = bind(settings.metrics.address, settings.metrics_port) if settings.metrics.enabled else None
        if settings.user and os.geteuid() == 0:
            shutil.chown(data.run / "metrics", settings.user)
            drop_privileges(settings.user)
        check_files(settings, data)
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
