"""Domain errors in IMAP's words: the one table (RFC 3501 §7.1, RFC 5530 §3)."""

from __future__ import annotations

from typing import Final

from postroom.model import errors
from postroom.wire.imap.responses import Code, Word

CODES: Final[tuple[tuple[type[errors.PostroomError], Code | None], ...]] = (
    (errors.StorageFull, Word.UNAVAILABLE),
    (errors.Unavailable, Word.UNAVAILABLE),
    (errors.QuotaExceeded, Word.OVERQUOTA),
    (errors.TooLarge, Word.TOOBIG),
    (errors.LimitExceeded, Word.LIMIT),
    (errors.NoSuchMailbox, Word.NONEXISTENT),
    (errors.MailboxExists, Word.ALREADYEXISTS),
    (errors.MailboxHasChildren, Word.INUSE),
    (errors.InvalidName, Word.CANNOT),
    (errors.UseAttributeTaken, Word.USEATTR),
    (errors.NoSuchMessage, Word.EXPUNGEISSUED),
    (errors.InUse, Word.INUSE),
    (errors.AuthenticationFailed, Word.AUTHENTICATIONFAILED),
    (errors.NotAllowed, Word.CANNOT),
    (errors.UnknownEncoding, Word.UNKNOWN_CTE),
    (errors.Corrupt, Word.CORRUPTION),
    (errors.PostroomError, None),
)


def code_of(error: errors.PostroomError) -> Code | None:
    """The response code for an error: the first class in the table that fits."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    return None
