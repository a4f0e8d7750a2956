"""A real mail server inside a test: SMTP, submission, LMTP, POP3 and IMAP on free loopback ports.

What others use: ``ThreadedServer`` in synchronous tests, ``InProcessServer`` inside an event loop, and the pytest fixtures
of ``postroom.testing.plugin``. docs/testing.md has examples.

Invariants: nothing leaves the machine, listens beyond loopback or outlives ``stop``; importing this package imports no
part of the server until a name of it is used, because pytest imports the plugin in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postroom.testing.endpoints import Endpoint
    from postroom.testing.messages import OutgoingMessage, StoredMessage
    from postroom.testing.server import InProcessServer
    from postroom.testing.threaded import ThreadedServer

__all__ = ["Endpoint", "InProcessServer", "OutgoingMessage", "StoredMessage", "ThreadedServer"]

_HOMES = {
    "Endpoint": "postroom.testing.endpoints",
    "InProcessServer": "postroom.testing.server",
    "OutgoingMessage": "postroom.testing.messages",
    "StoredMessage": "postroom.testing.messages",
    "ThreadedServer": "postroom.testing.threaded",
}


if not TYPE_CHECKING:  # a type checker that saw this would take every misspelt name

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(home), name)
