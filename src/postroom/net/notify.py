"""Tells the service manager how we are (sd_notify protocol: datagrams of VARIABLE=value lines to $NOTIFY_SOCKET).

A send never fails the caller: a missing or broken service manager must not stop the mail.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def sd_notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send one state such as ``READY=1``; False when there is no service manager or it did not take it."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path or path[0] not in "/@":
        return False
    address = "\0" + path[1:] if path[0] == "@" else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.sendall(state.encode())
    except OSError:
        return False
    return True
