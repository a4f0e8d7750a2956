"""Who is there besides by password: tokens known by heart, and TLS sessions with a client's certificate."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from postroom.model.errors import Unavailable
from postroom.session.bearer import INSUFFICIENT, Bearer, TokenRefused
from postroom.session.transport import ClientCertificate, TlsInfo


class FakeTokens:
    """Knows tokens by heart."""

    scope = "mail"
    configuration_url = "https://id.example.org/.well-known/openid-configuration"

    def __init__(self) -> None:
        self.known = {
            "alices": "alice@example.org",
            "Alices": "ALICE@EXAMPLE.org",
            "bobs": "bob@example.org",
            "carols": "carol@example.org",
            "nobodys": "x@y",
        }
        self.asked = 0

    async def verify(self, token: str) -> Bearer:
        self.asked += 1
        if token == "later":
            raise Unavailable
        if token == "narrow":
            raise TokenRefused("the scope is missing", INSUFFICIENT)
        if token not in self.known:
            raise TokenRefused("expired")
        return Bearer(self.known[token], 1e12)


def tokens_for(needs: AbstractSet[str]) -> FakeTokens | None:
    """For a transcript that needs ``tokens``."""
    return FakeTokens() if "tokens" in needs else None


def tls_for(needs: AbstractSet[str], tls: TlsInfo) -> TlsInfo:
    """``certificate``: the client has shown alice's; ``bindable``: there is something to bind a login to."""
    if "certificate" in needs:
        tls = replace(tls, certificate=ClientCertificate(("alice@example.org",)))
    return replace(tls, end_point=b"end point") if "bindable" in needs else tls
