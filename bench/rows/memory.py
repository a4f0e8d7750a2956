"""Memory of idle connections, and of an idle worker."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.rows import Bench, Figure, Row
from bench.server import DOMAIN, PASSWORD, Server, proportional_size


@contextmanager
def idle_connections(port: int, count: int, *, tls: bool) -> Iterator[None]:
    """Hold IMAP connections that are logged in and have selected INBOX."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    held: list[socket.socket] = []
    try:
        for number in range(count):
            line = socket.create_connection(("127.0.0.1", port), timeout=30)
            if tls:
                line = context.wrap_socket(line)
            line.recv(4096)
            line.sendall(
                f'a LOGIN empty{number % 16}@{DOMAIN} "{PASSWORD}"\r\nb SELECT INBOX\r\nc NOOP\r\n'.encode()
            )
            said = b""
            while b"\r\nc OK" not in said:
                got = line.recv(4096)
                if not got:
                    raise ConnectionError(f"closed after {number} connections: {said[-200:]!r}")
                said += got
            held.append(line)
        time.sleep(1)
        yield
    finally:
        for line in held:
            line.close()


def per_connection(tls: bool) -> Row:
    """KiB of PSS that a connection adds."""

    def measure(bench: Bench, server: Server) -> Figure:
        count = bench.loops(500, 50)
        # Processes that are there for new connections are not the connections' fault.
        with idle_connections(server.ports["imaps" if tls else "imap"], 50, tls=tls):
            before = server.memory()
            with idle_connections(server.ports["imaps" if tls else "imap"], count, tls=tls):
                return Figure((server.memory() - before) / count / 1024)

    if tls:
        return Row(
            "memory of an idle IMAP connection, TLS", "imaps", "KiB", measure, None, more_is_better=False
        )
    return Row("memory of an idle IMAP connection", "imap", "KiB", measure, 20, more_is_better=False)


def worker(_bench: Bench, server: Server) -> Figure:
    """MiB of the largest process before anything was asked of it."""
    return Figure(max(map(proportional_size, server.pids())) / 2**20)


ROWS = (
    Row("memory of an idle worker", "imap", "MiB", worker, None, more_is_better=False, alone=True),
    per_connection(tls=False),
    per_connection(tls=True),
)
