"""Metrics and health over HTTP, for the monitoring of this machine.

Purpose: ``/metrics`` in Prometheus' format over all processes, ``/healthz`` as JSON with 200 or 503.

Invariants: read-only, no state, nothing about people's mail. It runs in the background process, in threads of its own, so
a slow scrape never delays mail.

It must not know: how health is found out (a function is handed in).
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = structlog.get_logger("postroom.web")

Health = Callable[[], dict[str, Any]]
"""Gives what /healthz answers; ``healthy`` (bool) chooses the status."""

_REQUEST_SECONDS: Final = 10


class _QuietHandler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        _log.debug("http", line=format % arguments)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class StatusServer:
    """Serves until ``close``; ``port`` 0 takes a free one, ``port`` then says which."""

    def __init__(self, address: str, port: int, registry: CollectorRegistry, health: Health) -> None:
        self._registry = registry
        self._health = health
        self._server = make_server(address, port, self._answer, _Server, _QuietHandler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="status", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop and release the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _respond(start_response, "405 Method Not Allowed", "text/plain", b"GET only\n")
        match environ["PATH_INFO"]:
            case "/metrics":
                encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
                return _respond(start_response, "200 OK", content_type, encode(self._registry))
            case "/healthz":
                health = self._health()
                status = "200 OK" if health.get("healthy") else "503 Service Unavailable"
                return _respond(
                    start_response, status, "application/json", json.dumps(health).encode() + b"\n"
                )
            case _:
                return _respond(start_response, "404 Not Found", "text/plain", b"/metrics or /healthz\n")


def _respond(start_response: StartResponse, status: str, content_type: str, body: bytes) -> list[bytes]:
    start_response(
        status,
        [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ],
    )
    return [body]
