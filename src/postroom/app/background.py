"""The low-priority process: metrics and health over HTTP, full-text indexing, sweeping of files nobody refers to.

Invariants: nothing here is on the way of a message; it may die and be restarted at any time without harm.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from postroom.app import metrics
from postroom.app.upkeep import Upkeep
from postroom.config import logging as log_setup
from postroom.config.paths import DataDir
from postroom.config.settings import Settings
from postroom.web.status import StatusServer

_log = structlog.get_logger("postroom.background")

_NICE: Final = 10
_PING_SECONDS: Final = 2.0


def main(settings: Settings, workers: int, status: socket.socket | None, ready: Callable[[], None]) -> int:
    """Run until SIGTERM; returns the exit status."""
    log_setup.configure(settings.log)
    with contextlib.suppress(OSError):  # a sandbox may forbid it: then it competes on equal terms
        os.nice(_NICE)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    data = DataDir(settings.data_dir)
    server = None
    if status is not None:
        # The parent has found the port free and holds the place; the server binds it again beside that.
        status.close()
        server = StatusServer(
            settings.metrics.address,
            settings.metrics_port,
            metrics.collecting_registry(),
            lambda: health(data, workers),
        )
        server.start()
    upkeep = Upkeep(settings, data)
    ready()
    while not stop.is_set():
        busy = upkeep.step()
        stop.wait(0.01 if busy else 1.0)
    upkeep.close()
    if server is not None:
        server.close()
    return 0


def health(data: DataDir, workers: int) -> dict[str, Any]:
    """Whether every worker answers on its socket."""
    started = time.monotonic()
    answering = [number for number in range(workers) if _answers(str(data.worker_socket(number)))]
    return {
        "healthy": len(answering) == workers,
        "workers": workers,
        "answering": answering,
        "seconds": round(time.monotonic() - started, 4),
    }


def _answers(path: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PING_SECONDS)
            probe.connect(path)
    except OSError:
        return False
    return True
