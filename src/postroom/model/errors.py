"""Errors of the domain, free of any protocol.

Each carries a ``public`` text, which may be shown to the peer, and a ``private`` reason for the log. Each protocol maps
the classes to its own codes in one table. Anything that is not a PostroomError is a bug.
"""

from __future__ import annotations


class PostroomError(Exception):
    """Base of every error that the system foresees."""

    default_public = "The request failed"

    def __init__(self, public: str = "", *, private: str = "") -> None:
        self.public = public or self.default_public
        self.private = private or self.public
        super().__init__(self.private)


class Unavailable(PostroomError):
    """The service cannot answer now and may later (I/O error, disk full, owner of a shard gone, shutting down)."""

    default_public = "Temporary failure, try again later"


class StorageFull(Unavailable):
    """The disk is full; nothing was stored."""

    default_public = "Insufficient storage, try again later"


class QuotaExceeded(PostroomError):
    """The account's quota would be exceeded; nothing was stored."""

    default_public = "Quota exceeded"


class TooLarge(PostroomError):
    """A message or value is over a fixed limit."""

    default_public = "Message too large"


class LimitExceeded(PostroomError):
    """Some count (mailboxes, keywords, connections) is at its limit."""

    default_public = "Limit reached"


class NoSuchMailbox(PostroomError):
    """The named mailbox does not exist."""

    default_public = "No such mailbox"


class MailboxExists(PostroomError):
    """The name is taken."""

    default_public = "Mailbox already exists"


class MailboxHasChildren(PostroomError):
    """The mailbox cannot be removed in this way while it has inferior names."""

    default_public = "Mailbox has inferior names"


class InvalidName(PostroomError):
    """A mailbox, account or domain name is not acceptable."""

    default_public = "Name not acceptable"


class UseAttributeTaken(PostroomError):
    """The special-use attribute cannot be given to this mailbox (RFC 6154 §3 USEATTR)."""

    default_public = "Special use not available"


class NoSuchMessage(PostroomError):
    """The message has gone."""

    default_public = "Message no longer exists"


class InUse(PostroomError):
    """Another session holds an exclusive lock (POP3 maildrop)."""

    default_public = "Maildrop is in use by another session"


class NotAllowed(PostroomError):
    """The actor may not do this."""

    default_public = "Not allowed"


class AuthenticationFailed(PostroomError):
    """Credentials refused; one public text for every reason."""

    default_public = "Authentication failed"


class TooManyAttempts(AuthenticationFailed):
    """Refused unseen, because of a rate limit; the public text is the same on purpose."""


class NoSuchRecipient(PostroomError):
    """The address names nobody here."""

    default_public = "No such recipient"


class RelayDenied(PostroomError):
    """The recipient's domain is not ours and the sender is not authenticated."""

    default_public = "Relaying denied"


class LoopDetected(PostroomError):
    """Too many hops (RFC 5321 §6.3)."""

    default_public = "Too many hops"


class UnknownEncoding(PostroomError):
    """A part's content transfer encoding cannot be undone (RFC 3516 §4.3 UNKNOWN-CTE)."""

    default_public = "Unknown content transfer encoding"


class Corrupt(PostroomError):
    """Stored data failed its checksum or an invariant."""

    default_public = "Stored data is damaged"
