"""Bearer tokens: what a token must say to stand for a login, whoever vouches for it.

Invariants: what is not said exactly is not so: a claim that is missing, of another type or of another value refuses the
token (RFC 8725 §3.8, §3.9). The reason is for the log; the client learns one of the words of RFC 6750 §3.1.

It must not know: how a token is verified (``jwt``, ``app.bearer``), the mechanisms that carry it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from postroom.model.errors import AuthenticationFailed

INVALID: Final = "invalid_token"
INSUFFICIENT: Final = "insufficient_scope"
MAX_LOGIN: Final = 320


class TokenRefused(AuthenticationFailed):
    """The token does not stand for anybody here. ``word`` is INVALID or INSUFFICIENT."""

    def __init__(self, private: str, word: str = INVALID) -> None:
        super().__init__(private=private)
        self.word = word


@dataclass(slots=True, frozen=True)
class Bearer:
    """Whom a good token stands for: a login as its issuer writes it, and until when (seconds of Unix time)."""

    login: str
    expires: float


class TokenVerifier(Protocol):
    """What ``Authenticator`` needs to offer OAUTHBEARER and XOAUTH2."""

    @property
    def scope(self) -> str:
        """The scope a token must have, for the client to ask for; empty for none."""

    @property
    def configuration_url(self) -> str:
        """Where clients find the issuer's endpoints (RFC 8414 §3), or empty."""

    async def verify(self, token: str) -> Bearer:
        """Raises TokenRefused, Unavailable (nobody could be asked)."""


@dataclass(slots=True, frozen=True)
class ClaimRules:
    """What the claims of a token must be (RFC 7519 §4.1, RFC 7662 §2.2, RFC 9068 §4).

    ``leeway`` in seconds is the difference of clocks that is taken for granted.
    """

    issuer: str
    audiences: frozenset[str]
    user_claim: str = "email"
    scope: str = ""
    leeway: int = 60

    def judge(self, claims: Mapping[str, Any], now: float, *, introspected: bool = False) -> Bearer:
        """Whom the claims stand for at ``now``. Raises TokenRefused.

        ``introspected``: they come from the issuer itself, which may leave out who it is (RFC 7662 §2.2), and in case it has
        said nothing of an end, the answer is good for this moment only.
        """
        issuer = claims.get("iss")
        if issuer != self.issuer and not (introspected and issuer is None):
            raise TokenRefused("another issuer")
        if self.audiences and not self.audiences.intersection(_texts(claims.get("aud"), "aud")):
            raise TokenRefused("another audience")
        expires = self._when(claims, "exp", now if introspected else None)
        if now >= expires + self.leeway:
            raise TokenRefused("expired")
        for claim in ("nbf", "iat"):
            if self._when(claims, claim, now) > now + self.leeway:
                raise TokenRefused(f"not valid yet ({claim})")
        login = self._login(claims)
        if self.scope and self.scope not in _scopes(claims):
            raise TokenRefused("the scope is missing", INSUFFICIENT)
        return Bearer(login, expires)

    def _when(self, claims: Mapping[str, Any], name: str, default: float | None) -> float:
        """A NumericDate; ``default`` where it may be missing."""
        value = claims.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TokenRefused(f"no good {name}")
        return float(min(value, 1 << 53))

    def _login(self, claims: Mapping[str, Any]) -> str:
        login = claims.get(self.user_claim)
        if not isinstance(login, str) or not 0 < len(login) <= MAX_LOGIN:
            raise TokenRefused(f"no good {self.user_claim}")
        # OpenID Connect Core §5.1: whoever registers an address that is not theirs must not get its mail.
        if self.user_claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise TokenRefused("the address is not verified")
        return login


def _texts(value: Any, name: str) -> list[str]:
    """A string, or a list of strings (RFC 7519 §4.1.3)."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise TokenRefused(f"no good {name}")


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """``scope`` separated by spaces (RFC 9068 §2.2.3, RFC 7662 §2.2)."""
    value = claims.get("scope", claims.get("scp", ""))  # quirk: Entra ID calls it scp, Okta makes it a list
    return [scope for text in _texts(value, "scope") for scope in text.split(" ")]
