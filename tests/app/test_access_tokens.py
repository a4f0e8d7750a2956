"""Access tokens by a refresh token: kept, renewed in time, refused in plain words."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from postroom.app.access_tokens import access_token, forget_access_token
from postroom.config.paths import DataDir
from postroom.config.sources import Source
from postroom.model.errors import Unavailable


class Issuer(ThreadingHTTPServer):
    """Answers with ``answer``; ``asked`` are the forms it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, str]] = []
        self.answer: tuple[int, bytes] = (500, b"")

    def give(self, status: int = 200, **fields: object) -> None:
        self.answer = status, json.dumps(fields).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append({key: values[0] for key, values in parse_qs(body).items()})
        status, octets = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing."""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    server = Issuer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path)
    made.journals.mkdir(parents=True)
    return made


def source(issuer: Issuer) -> Source:
    return Source(
        name="old",
        oauth_token_url=f"http://127.0.0.1:{issuer.server_port}/token",
        oauth_client="me",
        oauth_scope="mail",
    )


async def test_kept_until_shortly_before_its_end(issuer: Issuer, data: DataDir) -> None:
    issuer.give(access_token="first", token_type="Bearer", expires_in=3600)
    assert await access_token(data, source(issuer), "refresh", 1000.0) == "first"
    assert issuer.asked == [
        {"grant_type": "refresh_token", "refresh_token": "refresh", "client_id": "me", "scope": "mail"}
    ]
    issuer.give(access_token="second", token_type="bearer", expires_in=3600)
    assert await access_token(data, source(issuer), "refresh", 4400.0) == "first"
    assert await access_token(data, source(issuer), "refresh", 4500.0) == "second"
    kept = list(data.journals.glob("*.token"))
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]


async def test_a_replaced_refresh_token_is_used_until_the_owner_gives_another(
    issuer: Issuer, data: DataDir
) -> None:
    issuer.give(access_token="a", token_type="Bearer", expires_in=1, refresh_token="rotated")
    await access_token(data, source(issuer), "given", 1000.0)
    await access_token(data, source(issuer), "given", 2000.0)
    await access_token(data, source(issuer), "anew", 3000.0)
    assert [form["refresh_token"] for form in issuer.asked] == ["given", "rotated", "anew"]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (400, b'{"error": "invalid_grant"}', "log in at the provider again"),
        (
            401,
            b'{"error": "invalid_client", "error_description": "who\\n?"}',
            "refused: invalid_client who ?",
        ),
        (503, b"<html>", "status 503 and no tokens"),
        (200, b"[" * 5000, "no tokens"),
        (200, b'{"access_token": "x", "token_type": "mac"}', "no bearer token"),
        (200, b'{"token_type": "bearer"}', "no bearer token"),
        (500, b"{}", "refused: 500"),
    ],
)
async def test_refusals(issuer: Issuer, data: DataDir, status: int, body: bytes, why: str) -> None:
    issuer.answer = status, body
    with pytest.raises(Unavailable) as caught:
        await access_token(data, source(issuer), "secret-refresh", 1000.0)
    assert why in caught.value.private
    assert "secret-refresh" not in str(caught.value.private)
    assert not list(data.journals.glob("*.token"))


async def test_a_damaged_file_is_made_anew(issuer: Issuer, data: DataDir) -> None:
    issuer.give(access_token="a", token_type="Bearer")
    await access_token(data, source(issuer), "given", 1000.0)
    (path,) = data.journals.glob("*.token")
    path.write_bytes(b"{half")
    assert await access_token(data, source(issuer), "given", 1001.0) == "a"


async def test_a_refused_token_is_not_used_again(issuer: Issuer, data: DataDir) -> None:
    forget_access_token(data, source(issuer))
    issuer.give(access_token="a", token_type="Bearer", expires_in=3600, refresh_token="rotated")
    await access_token(data, source(issuer), "given", 1000.0)
    forget_access_token(data, source(issuer))
    issuer.give(access_token="b", token_type="Bearer", expires_in=3600)
    assert await access_token(data, source(issuer), "given", 1001.0) == "b"
    assert issuer.asked[1]["refresh_token"] == "rotated"
