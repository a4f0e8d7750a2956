"""Where a server inside a test logs to: the standard ``logging``, below the logger ``postroom``.

So pytest's ``caplog`` sees it and a failing test shows it. Invariants: a program that configures structlog keeps its own
configuration; what was changed here is changed back when the last server has stopped.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

import structlog

from postroom.config.logging import clean_event

_lock = threading.Lock()
_servers: set[object] = set()
_factory: Final = structlog.stdlib.LoggerFactory()
# Without a handler, logging would print warnings to standard error when the program under test has set up nothing.
_silence: Final = logging.NullHandler()


def enter(server: object) -> None:
    """A server starts."""
    with _lock:
        _servers.add(server)
        if structlog.is_configured():
            return
        logging.getLogger("postroom").addHandler(_silence)
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.format_exc_info,
                clean_event,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=_factory,
            cache_logger_on_first_use=False,
        )


def leave(server: object) -> None:
    """A server has stopped; idempotent."""
    with _lock:
        _servers.discard(server)
        if not _servers and structlog.get_config()["logger_factory"] is _factory:
            structlog.reset_defaults()
            logging.getLogger("postroom").removeHandler(_silence)
