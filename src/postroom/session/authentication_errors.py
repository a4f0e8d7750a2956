"""Why an exchange of authentication ends without a verdict on the client.

It must not know: mechanisms, protocols.
"""

from __future__ import annotations

from postroom.model.errors import AuthenticationFailed, NotAllowed


class ExchangeCancelled(AuthenticationFailed):
    """The client cancelled the exchange (RFC 4422 §3.5); nothing is counted."""

    default_public = "Authentication cancelled"


class MechanismUnknown(NotAllowed):
    """The mechanism is not offered here."""

    default_public = "Unsupported authentication mechanism"


class EncryptionRequired(NotAllowed):
    """Nothing is offered in clear on this listener."""

    default_public = "Encryption required for authentication"
