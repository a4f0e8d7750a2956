"""Messages as a test sees them: octets, envelope, flags, and the parsed message on demand.

Invariants: values; nothing here changes when the server does. ``octets`` are exactly what a client would read.
"""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from functools import cached_property
from typing import Final

MessageLike = EmailMessage | str | bytes
"""What can be delivered: an EmailMessage, text (with any line ends), or octets that are taken as they are."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


def octets_of(message: MessageLike) -> bytes:
    """The octets of a message to be delivered; line ends become CRLF, except in octets, which stay as they are."""
    if isinstance(message, bytes):
        return message
    if isinstance(message, str):
        return _LINE_END.sub(b"\r\n", message.encode())
    return message.as_bytes(policy=email.policy.SMTP)


class _Parsed:
    """What both kinds of message can do."""

    octets: bytes

    @cached_property
    def email(self) -> EmailMessage:
        """The message, parsed with ``email.policy.default``."""
        return email.message_from_bytes(self.octets, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """The subject, decoded; empty without one."""
        return str(self.email["subject"] or "")

    @property
    def text(self) -> str:
        r"""The plain text (or else the HTML) of the body, lines ending in ``\n``; empty when there is neither."""
        body = self.email.get_body(("plain", "html"))
        return str(body.get_content()).replace("\r\n", "\n") if body is not None else ""


@dataclass(frozen=True)
class StoredMessage(_Parsed):
    """A message in a mailbox."""

    uid: int
    octets: bytes
    """With the Return-Path and Received fields that the server has put in front."""
    flags: frozenset[str]
    r"""System flags such as ``\Seen``, and keywords."""
    sender: str | None
    """The envelope's sender, empty for a bounce; None for a message that came by APPEND, without an envelope."""
    recipients: tuple[str, ...]
    """The envelope's recipient that led to this mailbox, as it was written; empty without an envelope."""
    received: datetime
    """IMAP's INTERNALDATE, in UTC."""


@dataclass(frozen=True)
class OutgoingMessage(_Parsed):
    """A message that would have left for other servers."""

    octets: bytes
    """As the next server would get it."""
    sender: str
    """The envelope's sender, empty for a bounce."""
    recipients: tuple[str, ...]
    """The envelope's foreign recipients, in order."""
    submitted: datetime
    """When it was taken, in UTC."""
