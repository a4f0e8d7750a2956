"""Domain errors to response codes: the one table of POP3 (RFC 2449 §8, RFC 3206 §4)."""

from __future__ import annotations

from typing import Final

from postroom.model.errors import AuthenticationFailed, Corrupt, InUse, PostroomError, Unavailable
from postroom.session.authentication import ExchangeCancelled
from postroom.session.pop3.policy import TooSoon
from postroom.session.pop3.surrogates import NeedsUtf8
from postroom.wire.pop3.replies import ResponseCode

CODES: Final[tuple[tuple[type[PostroomError], ResponseCode | None], ...]] = (
    (ExchangeCancelled, None),
    (AuthenticationFailed, ResponseCode.AUTH),
    (InUse, ResponseCode.IN_USE),
    (NeedsUtf8, ResponseCode.UTF8),
    (TooSoon, ResponseCode.LOGIN_DELAY),
    (Unavailable, ResponseCode.SYS_TEMP),
    (Corrupt, ResponseCode.SYS_PERM),
    (PostroomError, None),
)
"""Domain errors to response codes (RFC 2449 §8, RFC 3206 §4); the first class that fits counts."""


def code_of(error: PostroomError) -> ResponseCode | None:
    """The code that says what kind of error it is; None for one that has no code."""
    return next(code for kind, code in CODES if isinstance(error, kind))
