"""Memory of processes, and many idle TLS connections to hold while it is read."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def proportional_size(pid: int) -> int:
    """PSS of a process in octets: its own pages, and its share of those it shares. 0 when it has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def idle_tls_connections(port: int, count: int) -> Iterator[None]:
    """Hold ``count`` IMAP connections over TLS that have read their greeting and say nothing."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    held: list[ssl.SSLSocket] = []
    try:
        for _ in range(count):
            connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30))
            connection.recv(1024)
            held.append(connection)
        time.sleep(0.5)
        yield
    finally:
        for connection in held:
            connection.close()
