"""Access tokens for sources, got by a refresh token (RFC 6749 §6).

Invariants: tokens are neither logged nor shown; they are kept in a file that nobody else may read, beside a digest of the refresh
token that the owner gave: a new one in ``password_file`` is taken at once. A token is renewed before it expires, and a refresh
token that the issuer replaces is kept before it is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from postroom.config.paths import DataDir
from postroom.config.private_file import write_private
from postroom.config.sources import Source
from postroom.model.errors import Unavailable
from postroom.net.http import post_form
from postroom.net.tls import client_context

_LARGEST: Final = 1 << 16
_SECONDS: Final = 30.0
_EARLY: Final = 120
"""Seconds before its end at which a token is renewed."""
_LIFETIME: Final = 300
"""Seconds, where the issuer does not say (RFC 6749 §5.1)."""


@dataclass(slots=True)
class _Kept:
    given: str
    refresh: str
    access: str = ""
    expires: float = 0.0


class _Reply(msgspec.Struct):
    access_token: str = ""
    token_type: str = ""
    expires_in: float | None = None
    refresh_token: str = ""
    error: str = ""
    error_description: str = ""


def read_secret(path: Path | None) -> str:
    """The first line of a file, empty without one. Raises OSError."""
    return path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r") if path is not None else ""


async def access_token(data: DataDir, source: Source, refresh_token: str, now: float) -> str:
    """A token that is good for a while. ``now`` in seconds since 1970.

    Raises Unavailable, with the reason in plain words, and OSError.
    """
    given = hashlib.sha256(refresh_token.encode()).hexdigest()
    path = _path(data, source)
    kept = _read(path)
    if kept is None or kept.given != given:
        kept = _Kept(given, refresh_token)
    if kept.access and now < kept.expires - _EARLY:
        return kept.access
    reply = await _renew(source, kept.refresh)
    kept.access = reply.access_token
    kept.refresh = reply.refresh_token or kept.refresh
    kept.expires = now + (reply.expires_in if reply.expires_in is not None else _LIFETIME)
    write_private(path, msgspec.json.encode(kept))
    return kept.access


def forget_access_token(data: DataDir, source: Source) -> None:
    """The server has refused it: the next time another one is asked for. Raises OSError."""
    path = _path(data, source)
    kept = _read(path)
    if kept is not None and kept.access:
        kept.access = ""
        write_private(path, msgspec.json.encode(kept))


def _path(data: DataDir, source: Source) -> Path:
    name = hashlib.sha256(source.name.encode()).hexdigest()[:24]
    return data.journals / f"collect-{name}.token"


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


async def _renew(source: Source, refresh_token: str) -> _Reply:
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    secret = read_secret(source.oauth_client_secret_file)
    wanted = {"client_id": source.oauth_client, "client_secret": secret, "scope": source.oauth_scope}
    fields |= {name: value for name, value in wanted.items() if value}
    response = await post_form(
        source.oauth_token_url,
        fields,
        {"Accept": "application/json"},
        context=client_context(source.certificate_authorities),
        seconds=_SECONDS,
        largest=_LARGEST,
    )
    try:
        reply = msgspec.json.decode(response.body, type=_Reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(
            private=f"the issuer of tokens answered with status {response.status} and no tokens"
        ) from error
    if reply.error == "invalid_grant":
        raise Unavailable(
            private="the refresh token is no longer good: log in at the provider again and put the new one into password_file"
        )
    if reply.error or response.status != 200:
        said = " ".join(f"{reply.error} {reply.error_description}".split())[:200]
        raise Unavailable(private=f"the issuer of tokens refused: {said or response.status}")
    if not reply.access_token or reply.token_type.lower() != "bearer":
        raise Unavailable(private="the issuer of tokens gave no bearer token")
    return reply
