"""Metrics and health over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from postroom.web.status import StatusServer

HEALTH: dict[str, Any] = {"healthy": True}


@pytest.fixture
def server() -> Iterator[StatusServer]:
    registry = CollectorRegistry()
    Counter("test_things", "Things", registry=registry).inc(3)
    made = StatusServer("127.0.0.1", 0, registry, lambda: HEALTH)
    made.start()
    yield made
    made.close()


def _get(server: StatusServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_metrics(server: StatusServer) -> None:
    status, body = _get(server, "/metrics")
    assert status == 200
    assert b"test_things_total 3.0" in body


def test_health_chooses_the_status(server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _get(server, "/healthz") == (200, json.dumps({"healthy": True}).encode() + b"\n")
    monkeypatch.setitem(HEALTH, "healthy", False)
    assert _get(server, "/healthz")[0] == 503


def test_other_paths_and_methods(server: StatusServer) -> None:
    assert _get(server, "/")[0] == 404
    assert _get(server, "/metrics", "POST")[0] == 405
