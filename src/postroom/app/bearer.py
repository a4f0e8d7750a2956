"""Bearer tokens checked: by keys in a file, or by asking their issuer.

Invariants:
- A token is checked in one way: by ``keys`` if there are some and it is a JWT, by introspection otherwise.
- A key file that does not load leaves the keys in use in place, and is logged once. Without any keys the answer is
  "later", never "yes".
- Answers are kept by the token's digest, for a short time; tokens are neither kept nor logged. How many questions are asked
  at once is bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec
import structlog

from postroom.config.tokens import Oauth
from postroom.model.errors import Unavailable
from postroom.net.http import post_form
from postroom.net.tls import client_context
from postroom.session.bearer import Bearer, ClaimRules, TokenRefused
from postroom.session.jwt import JwtVerifier, KeysUnusable, read_keys

_log = structlog.get_logger("postroom.tokens")

_LOOK_SECONDS: Final = 10.0
_LARGEST_KEYS: Final = 1 << 20
_LARGEST_RESPONSE: Final = 1 << 16
_REMEMBERED: Final = 10_000
_AT_ONCE: Final = 32


class Tokens:
    """Implements ``session.bearer.TokenVerifier``. ``clock`` gives Unix time in seconds."""

    def __init__(self, settings: Oauth, clock: Callable[[], float]) -> None:
        """Raises OSError, ssl.SSLError for files that introspection needs and that are not there."""
        rules = ClaimRules(
            settings.issuer,
            frozenset(settings.audience),
            settings.user_claim,
            settings.scope,
            settings.leeway,
        )
        self._clock = clock
        self.scope = settings.scope
        self.configuration_url = settings.configuration_url
        self._keys = _KeyFile(settings.keys, frozenset(settings.algorithms), rules) if settings.keys else None
        self._endpoint = _Endpoint(settings, rules) if settings.introspection_url else None

    async def verify(self, token: str) -> Bearer:
        """Whom the token stands for. Raises TokenRefused, Unavailable."""
        now = self._clock()
        if self._keys is not None and (self._endpoint is None or token.count(".") == 2):
            return self._keys.verifier(now).verify(token, now)
        assert self._endpoint is not None
        return await self._endpoint.verify(token, now)


class _KeyFile:
    """The keys of a file that is looked at again now and then."""

    def __init__(self, path: Path, algorithms: frozenset[str], rules: ClaimRules) -> None:
        self._path = path
        self._algorithms = algorithms
        self._rules = rules
        self._stamp: tuple[int, int, int] | None = None
        self._next_look = 0.0
        self._verifier: JwtVerifier | None = None
        self._look()

    def verifier(self, now: float) -> JwtVerifier:
        """The current one. Raises Unavailable when there has never been a good file."""
        if now >= self._next_look or now < self._next_look - _LOOK_SECONDS:
            self._next_look = now + _LOOK_SECONDS
            self._look()
        if self._verifier is None:
            raise Unavailable(private=f"{self._path} holds no keys")
        return self._verifier

    def _look(self) -> None:
        try:
            found = self._path.stat()
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            if stamp == self._stamp:
                return
            self._stamp = stamp
            if found.st_size > _LARGEST_KEYS:
                raise KeysUnusable("is larger than 1 MiB")
            keys = read_keys(self._path.read_bytes())
        except (OSError, KeysUnusable) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            _log.error(
                "keys for tokens not loaded, former ones stay in use", file=str(self._path), reason=reason
            )
            return
        self._verifier = JwtVerifier(keys, self._algorithms, self._rules)
        _log.info("keys for tokens loaded", file=str(self._path), count=len(keys))


class _Endpoint:
    """Introspection (RFC 7662)."""

    def __init__(self, settings: Oauth, rules: ClaimRules) -> None:
        self._settings = settings
        self._rules = rules
        self._context = client_context(settings.certificate_authorities)
        self._headers = {"Accept": "application/json", **_credentials(settings)}
        self._answers: OrderedDict[bytes, tuple[float, Bearer | TokenRefused]] = OrderedDict()
        self._under_way = 0

    async def verify(self, token: str, now: float) -> Bearer:
        """Raises TokenRefused, Unavailable."""
        digest = hashlib.sha256(token.encode()).digest()
        until, answer = self._answers.get(digest, (0.0, None))
        if answer is None or not until - self._settings.introspection_cache <= now < until:
            # A session's work may begin outside any task (``net.driver``), and time limits need one.
            judging = asyncio.get_running_loop().create_task(self._judge(token, now))
            until, answer = await judging
            self._remember(digest, until, answer)
        if isinstance(answer, TokenRefused):
            raise TokenRefused(answer.private, answer.word)
        return answer

    async def _judge(self, token: str, now: float) -> tuple[float, Bearer | TokenRefused]:
        """The answer and until when it may be remembered."""
        claims = await self._ask(token)
        until = now + self._settings.introspection_cache
        if claims.get("active") is not True:
            return until, TokenRefused("not active")
        try:
            bearer = self._rules.judge(claims, now, introspected=True)
        except TokenRefused as error:
            return until, error
        return (min(until, bearer.expires) if "exp" in claims else until), bearer

    async def _ask(self, token: str) -> Mapping[str, Any]:
        if self._under_way >= _AT_ONCE:
            raise Unavailable("Too busy, try again later", private="too many questions about tokens at once")
        self._under_way += 1
        try:
            response = await post_form(
                self._settings.introspection_url,
                {"token": token, "token_type_hint": "access_token"},
                self._headers,
                context=self._context,
                seconds=float(self._settings.introspection_timeout),
                largest=_LARGEST_RESPONSE,
            )
            if response.status != 200:
                raise Unavailable(private=f"status {response.status}")
            claims = msgspec.json.decode(response.body)
            if not isinstance(claims, dict):
                raise Unavailable(private="not a JSON object")
            return claims
        except (Unavailable, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.error("introspection failed", url=self._settings.introspection_url, reason=str(error))
            raise Unavailable(private=f"introspection: {error}") from error
        finally:
            self._under_way -= 1

    def _remember(self, digest: bytes, until: float, answer: Bearer | TokenRefused) -> None:
        self._answers[digest] = until, answer
        self._answers.move_to_end(digest)
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)


def _credentials(settings: Oauth) -> dict[str, str]:
    """HTTP Basic with both parts encoded as a form has them (RFC 6749 §2.3.1). Raises OSError."""
    if not settings.introspection_client or settings.introspection_secret_file is None:
        return {}
    secret = settings.introspection_secret_file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    pair = f"{quote_plus(settings.introspection_client)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
