"""What is known about a message once it has been scanned.

Purpose: the vocabulary shared by the scanner (which fills it), the store (which keeps it) and the readers
(which answer IMAP FETCH and SEARCH from it).

Invariants:
- Facts are derived from the octets alone and can be computed again at any time; ``FACTS_VERSION`` rises
  whenever the scanner would compute something else.
- Every offset is relative to the first octet of the whole message; ``0 <= header <= body <= end <= size``.
- Over a limit (depth, parts, header size) the structure ends at the limit; the octets are untouched.

It must not know: stores, protocols' state, clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

FACTS_VERSION: Final = 2


@dataclass(slots=True)
class Part:
    """One node of the MIME tree (RFC 2045, RFC 2046), with its place in the message.

    ``header`` is the offset of the first octet of the part's header, ``body`` the offset of the first octet
    after the blank line, ``end`` the offset one past the last octet of the body (for a part inside a multipart
    the CRLF before the next boundary belongs to the boundary, RFC 2046 §5.1.1).
    ``lines`` counts the line ends in the body. Types and names are lower case.
    For a message/rfc822 part ``children`` holds exactly one Part, the embedded message, whose ``header`` equals
    this part's ``body``. ``number`` semantics (RFC 3501 §6.4.5) are derived by ``find_part``.
    """

    type: str
    subtype: str
    header: int
    body: int
    end: int
    lines: int
    encoding: str = "7bit"
    params: dict[str, str] = field(default_factory=dict)
    children: list[Part] = field(default_factory=list)


@dataclass(slots=True)
class Facts:
    """Everything computed about a message in the one streaming scan (design: "facts").

    ``envelope``, ``body_fields`` and ``bodystructure`` are the rendered IMAP values, parentheses included, and are
    pure ASCII (RFC 3501 §7.4.2). ``size`` is in octets. ``sent`` is the Date header as seconds since 1970 UTC or None;
    ``sent_day`` the day number (days since 1970) of the Date header disregarding time and zone (RFC 3501 §6.4.4 SENTON).
    ``message_id``/``references`` are msg-ids without angle brackets. ``base_subject`` per RFC 5256 §2.1.
    ``preview`` is at most 200 characters of decoded text.
    """

    size: int
    root: Part
    envelope: bytes
    body_fields: bytes
    bodystructure: bytes
    sent: int | None = None
    sent_day: int | None = None
    message_id: str = ""
    references: tuple[str, ...] = ()
    subject: str = ""
    base_subject: str = ""
    preview: str = ""
    truncated: bool = False
    has_8bit_header: bool = False
    version: int = FACTS_VERSION
