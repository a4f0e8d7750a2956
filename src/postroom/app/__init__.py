"""The composition root: the only package that knows everything and puts it together.

What others call: ``serve`` runs the server, ``open_offline`` gives a command the directory and the store (through the running
server when there is one), ``fsck`` checks the store.
"""

from __future__ import annotations

from postroom.app.offline import Offline, fsck, open_offline
from postroom.app.parent import AlreadyRunning, serve
from postroom.app.sockets import CannotListen

__all__ = ["AlreadyRunning", "CannotListen", "Offline", "fsck", "open_offline", "serve"]
