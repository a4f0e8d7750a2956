"""Domain errors as SMTP replies: the one table (RFC 5321 §4.2, RFC 3463, RFC 5248)."""

from __future__ import annotations

from typing import Final

from postroom.delivery.authorship import MalformedMessage
from postroom.delivery.recipients import MailboxDisabled
from postroom.model.errors import (
    AuthenticationFailed,
    Corrupt,
    LimitExceeded,
    LoopDetected,
    NoSuchRecipient,
    NotAllowed,
    PostroomError,
    QuotaExceeded,
    RelayDenied,
    StorageFull,
    TooLarge,
    Unavailable,
)
from postroom.session.authentication import EncryptionRequired, ExchangeCancelled, MechanismUnknown
from postroom.wire.smtp.replies import Reply


class MalformedResponse(AuthenticationFailed):
    """A response within AUTH was not base64, or too long."""

    default_public = "Malformed response"


REPLIES: Final[dict[type[PostroomError], tuple[int, str]]] = {
    ExchangeCancelled: (501, "5.7.0"),
    MalformedResponse: (501, "5.5.2"),
    MechanismUnknown: (504, "5.5.4"),
    EncryptionRequired: (538, "5.7.11"),
    AuthenticationFailed: (535, "5.7.8"),
    StorageFull: (452, "4.3.1"),
    Unavailable: (451, "4.3.0"),
    # Of 452 and 552 senders make a retry and a bounce; a full mailbox is often emptied within days.
    QuotaExceeded: (452, "4.2.2"),
    TooLarge: (552, "5.3.4"),
    RelayDenied: (550, "5.7.1"),
    MailboxDisabled: (550, "5.2.1"),
    NoSuchRecipient: (550, "5.1.1"),
    NotAllowed: (550, "5.7.1"),
    MalformedMessage: (550, "5.6.0"),
    LoopDetected: (554, "5.4.6"),
    LimitExceeded: (452, "4.5.3"),
    Corrupt: (451, "4.3.0"),
    PostroomError: (554, "5.0.0"),
}
"""A class that is not named is answered like the nearest one above it."""


def reply_for(error: PostroomError) -> Reply:
    """What the peer is told; the private reason stays here."""
    for kind in type(error).__mro__:
        found = REPLIES.get(kind)
        if found is not None:
            code, enhanced = found
            return Reply(code, error.public, enhanced)
    return Reply(554, PostroomError.default_public, "5.0.0")
