"""Who is there: passwords and SASL exchanges for every protocol, with one place for limits and caching.

This is the interface; see the class for the promises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from postroom.model.account import Account
from postroom.model.errors import AuthenticationFailed, NotAllowed
from postroom.session.transport import Transport


class ExchangeCancelled(AuthenticationFailed):
    """The client cancelled the exchange (RFC 4422 §3.5); nothing is counted."""

    default_public = "Authentication cancelled"


class MechanismUnknown(NotAllowed):
    """The mechanism is not offered here."""

    default_public = "Unsupported authentication mechanism"


class EncryptionRequired(NotAllowed):
    """Nothing is offered in clear on this listener."""

    default_public = "Encryption required for authentication"


ChallengeFunction = Callable[[bytes], Awaitable[bytes | None]]
"""Sends a challenge (decoded octets) and returns the response, or None when the client cancelled."""


class Authenticator:
    """Verifies who is there; one per worker, shared by all sessions."""

    def mechanisms(self, transport: Transport) -> tuple[str, ...]:
        """Names of the SASL mechanisms to announce now, best first; empty when nothing may be offered in clear."""
        raise NotImplementedError

    def offered(self, transport: Transport) -> bool:
        """Whether a client may authenticate at all on this connection as it is now (TLS, or allowed in clear)."""
        raise NotImplementedError

    async def login(self, user: str, password: str, transport: Transport) -> Account:
        """Verify a plain password (IMAP LOGIN, POP3 PASS).

        Raises AuthenticationFailed, TooManyAttempts (a subclass), EncryptionRequired, Unavailable.
        """
        raise NotImplementedError

    async def exchange(
        self,
        mechanism: str,
        initial: bytes | None,
        transport: Transport,
        challenge: ChallengeFunction,
    ) -> Account:
        """Drive a whole SASL exchange.

        ``initial`` is the decoded initial response, None when there was none (``b""`` is an empty one). Raises
        MechanismUnknown, EncryptionRequired, ExchangeCancelled, AuthenticationFailed, TooManyAttempts, Unavailable, and
        whatever ``challenge`` raises.
        """
        raise NotImplementedError
