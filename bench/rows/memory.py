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
    """KiB of PSS that a connection adds, on a server of its own: no process or memory is left from other work."""
    service, name = (
        ("imaps", "memory of an idle IMAP connection, TLS")
        if tls
        else ("imap", "memory of an idle IMAP connection")
    )

    def measure(bench: Bench, server: Server) -> Figure:
        # Processes are all alike; a few hundred KiB would be lost in the noise of few connections.
        count = bench.loops(200 if server.process_each else 1_000, 50)
        twin = server.twin(bench.folder / f"{server.folder.name}-{service}")
        try:
            twin.start()
            # What the first connections bring (caches, processes that wait) is not the others' fault.
            with idle_connections(twin.ports[service], 50, tls=tls):
                before = twin.memory()
                with idle_connections(twin.ports[service], count, tls=tls):
                    return Figure((twin.memory() - before) / count / 1024)
        finally:
            twin.stop()

    return Row(name, service, "KiB", measure, None if tls else 20, more_is_better=False, once=True)


def worker(_bench: Bench, server: Server) -> Figure:
    """MiB of the largest process before anything was asked of it."""
    return Figure(max(map(proportional_size, server.pids())) / 2**20)


ROWS = (
    Row("memory of an idle worker", "imap", "MiB", worker, None, more_is_better=False, alone=True, once=True),
    per_connection(tls=False),
    per_connection(tls=True),
)
