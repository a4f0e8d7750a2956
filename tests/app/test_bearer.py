"""Tokens checked by a key file that changes, and by an issuer that is asked."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from postroom.app.bearer import Tokens
from postroom.config.tokens import Oauth
from postroom.model.errors import Unavailable
from postroom.session.bearer import INSUFFICIENT, TokenRefused
from tests.session.tokens import AUDIENCE, ISSUER, OTHER_RSA_KEY, RSA_KEY, claims, jwk, key_set, token

NOW = 1_795_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Issuer:
    """Answers introspection from ``answers``; what is not there is not active."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    status: bytes = b"200 OK"
    hold: asyncio.Event | None = None
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        form = parse_qs((await reader.readexactly(length)).decode())
        assert form["token_type_hint"] == ["access_token"]
        self.heads.append(head)
        self.asked.append(form["token"][0])
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.get(form["token"][0], {"active": False})
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (self.status, len(body), body))
        writer.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with listening:
        made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/introspect"
        yield made


def active(**changes: Any) -> dict[str, Any]:
    return {"active": True, **claims(NOW, **changes)}


def tokens_by(issuer: Issuer, clock: Clock | None = None, **settings: Any) -> Tokens:
    given = {"issuer": ISSUER, "audience": (AUDIENCE,), "introspection_url": issuer.url, **settings}
    return Tokens(Oauth(**given), clock or Clock())


async def refusal(tokens: Tokens, text: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        await tokens.verify(text)
    return caught.value.private


# --- keys


async def test_keys_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "keys.json"
    tokens = Tokens(Oauth(issuer=ISSUER, audience=(AUDIENCE,), keys=path), clock)
    old, new = token(claims(NOW)), token(claims(NOW), OTHER_RSA_KEY)
    with pytest.raises(Unavailable):
        await tokens.verify(old)
    path.write_bytes(key_set(jwk(RSA_KEY)))
    clock.now += 10
    assert (await tokens.verify(old)).login == "alice@example.org"
    path.write_bytes(b"half a fi")
    clock.now += 10
    assert (await tokens.verify(old)).login == "alice@example.org"
    path.write_bytes(key_set(jwk(OTHER_RSA_KEY, kid="new")))
    os.utime(path, (1, 1))
    assert (await tokens.verify(old)).login == "alice@example.org", "not looked at before its time"
    clock.now += 10
    assert "no key" in await refusal(tokens, old)
    assert (await tokens.verify(new)).login == "alice@example.org"
    assert await refusal(tokens, "opaque") == "not a JWT"


# --- introspection


async def test_an_active_token(issuer: Issuer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pass: word\nanother line\n")
    issuer.answers["opaque"] = active()
    tokens = tokens_by(issuer, introspection_client="mail server", introspection_secret_file=secret)
    assert (await tokens.verify("opaque")).login == "alice@example.org"
    assert b"Authorization: Basic " + b64encode(b"mail+server:pass%3A+word") + b"\r\n" in issuer.heads[0]
    assert b"Accept: application/json\r\n" in issuer.heads[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"active": False}, "not active"),
        ({}, "not active"),
        (active(active="true"), "not active"),
        (active(active=1), "not active"),
        (active(aud="other"), "another audience"),
        (active(aud=None), "no good aud"),
        (active(iss="https://evil.test"), "another issuer"),
        (active(exp=int(NOW) - 61), "expired"),
        (active(email=None), "no good email"),
    ],
)
async def test_tokens_that_are_refused(issuer: Issuer, answer: Any, reason: str) -> None:
    issuer.answers["opaque"] = answer
    tokens = tokens_by(issuer)
    assert await refusal(tokens, "opaque") == reason
    assert await refusal(tokens, "opaque") == reason
    assert issuer.asked == ["opaque"], "a refusal is remembered too"


async def test_the_word_of_a_remembered_refusal(issuer: Issuer) -> None:
    issuer.answers["opaque"] = active(scope="other")
    tokens = tokens_by(issuer, scope="mail")
    for _ in range(2):
        with pytest.raises(TokenRefused) as caught:
            await tokens.verify("opaque")
        assert caught.value.word == INSUFFICIENT


async def test_answers_are_remembered_for_a_while(issuer: Issuer) -> None:
    clock = Clock()
    issuer.answers.update(opaque=active(), ending=active(exp=int(NOW) + 5), endless=active(exp=None))
    tokens = tokens_by(issuer, clock)
    for text in ("opaque", "ending", "endless") * 2:
        await tokens.verify(text)
    assert issuer.asked == ["opaque", "ending", "endless"]
    clock.now += 29
    await tokens.verify("opaque")
    await tokens.verify("endless")
    assert len(issuer.asked) == 3
    await tokens.verify("ending")
    assert len(issuer.asked) == 4, "not longer than the token lasts"
    issuer.answers.clear()
    clock.now += 1
    assert await refusal(tokens, "opaque") == "not active", "revoked"
    clock.now -= 3600
    assert await refusal(tokens, "opaque") == "not active"
    assert len(issuer.asked) == 6, "a clock that went back makes no answer last longer"


async def test_nothing_is_remembered_where_that_is_turned_off(issuer: Issuer) -> None:
    issuer.answers["opaque"] = active()
    tokens = tokens_by(issuer, introspection_cache=0)
    await tokens.verify("opaque")
    await tokens.verify("opaque")
    assert len(issuer.asked) == 2


@pytest.mark.parametrize("status", [b"301 Moved", b"401 Unauthorized", b"500 Oops"])
async def test_an_issuer_that_does_not_answer_is_no_refusal(issuer: Issuer, status: bytes) -> None:
    issuer.answers["opaque"] = active()
    issuer.status = status
    tokens = tokens_by(issuer)
    with pytest.raises(Unavailable):
        await tokens.verify("opaque")
    issuer.status = b"200 OK"
    assert (await tokens.verify("opaque")).login == "alice@example.org", "trouble is not remembered"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"[" * 60_000, b"\xff", b" " * 70_000 + b"{}"])
async def test_answers_that_are_none(issuer: Issuer, body: bytes) -> None:
    issuer.answers["opaque"] = body
    with pytest.raises(Unavailable):
        await tokens_by(issuer).verify("opaque")


async def test_few_questions_at_once(issuer: Issuer) -> None:
    issuer.hold = asyncio.Event()
    tokens = tokens_by(issuer)
    under_way = [asyncio.create_task(tokens.verify(f"t{number}")) for number in range(32)]
    while len(issuer.asked) < 32:
        await asyncio.sleep(0.001)
    with pytest.raises(Unavailable, match="at once"):
        await tokens.verify("one more")
    issuer.hold.set()
    done = await asyncio.gather(*under_way, return_exceptions=True)
    assert all(isinstance(each, TokenRefused) for each in done)


async def test_keys_come_first_for_what_looks_like_a_jwt(issuer: Issuer, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(jwk(RSA_KEY)))
    forged = token(claims(NOW), OTHER_RSA_KEY)
    issuer.answers.update({"opaque": active(), forged: active()})
    tokens = tokens_by(issuer, keys=path)
    assert (await tokens.verify(token(claims(NOW)))).login == "alice@example.org"
    assert "no key" in await refusal(tokens, forged)
    assert issuer.asked == []
    assert (await tokens.verify("opaque")).login == "alice@example.org"
