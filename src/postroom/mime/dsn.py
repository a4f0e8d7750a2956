"""Delivery status notifications: multipart/report (RFC 3462, RFC 3464, RFC 6522).

Purpose: the octets that tell a sender what became of a message.

Invariants: pure; message-id, boundary and times are given. The result has CRLF line ends and ends with one. Texts of other
machines (diagnostics, names) cannot break out of their field. It is sent with an empty reverse-path by whoever sends
it (RFC 3464 §2), and marks itself as automatic (RFC 3834 §5).

It must not know: queues, why something failed, who the postmaster is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from postroom.mime.compose import (
    UnsafeValueError,
    address_field,
    date_field,
    fold,
    ident_field,
    structured_field,
    text_field,
)
from postroom.mime.date import format_date

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

_MAX_DIAGNOSTIC: Final = 2000
_MAX_WORD: Final = 500
_CONTROLS: Final = dict.fromkeys([*range(32), 127], " ")
_SUBJECTS: Final[dict[Action, str]] = {
    "failed": "Undelivered Mail Returned to Sender",
    "delayed": "Delayed Mail (still being retried)",
    "delivered": "Successful Mail Delivery Report",
    "relayed": "Mail Relayed Without Further Reports",
    "expanded": "Mail Delivered to a Mailing List",
}
_SENTENCES: Final[dict[Action, str]] = {
    "failed": "Your message could not be delivered to the recipients below. It will not be tried again.",
    "delayed": "Your message could not be delivered yet to the recipients below. There is nothing you need to do:\r\n"
    "delivery is tried again by itself.",
    "delivered": "Your message was delivered to the recipients below.",
    "relayed": "Your message was passed on to a system that sends no delivery reports, for the recipients below.",
    "expanded": "Your message was delivered to the lists below and sent on from there.",
}
_ORDER: Final[tuple[Action, ...]] = ("failed", "delayed", "delivered", "relayed", "expanded")


@dataclass(slots=True)
class RecipientStatus:
    """What became of the message for one recipient (RFC 3464 §2.3). Times in seconds since 1970 UTC.

    ``original`` is the ORCPT parameter as type and address, decoded ("rfc822;a@b", RFC 3461 §4.2); ``diagnostic`` the
    reply as received ("550 5.1.1 no such user").
    """

    final: str
    action: Action
    status: str
    original: str | None = None
    remote_mta: str | None = None
    diagnostic: str | None = None
    last_attempt: int | None = None
    will_retry_until: int | None = None


@dataclass(slots=True)
class DeliveryReport:
    """A notification to write. ``original`` is the message itself, whole or only its header, as ``full`` says."""

    reporting_mta: str
    sender: tuple[str, str]
    recipient: str
    message_id: str
    boundary: str
    date: int
    recipients: Sequence[RecipientStatus]
    original: bytes
    full: bool = False
    zone: int = 0
    arrival: int | None = None
    envelope_id: str | None = None
    in_reply_to: str | None = field(default=None)


def _plain(text: str) -> str:
    """Foreign text as printable ASCII of one line, with white space often enough to be folded."""
    words = text.translate(_CONTROLS).encode("ascii", "replace").decode("ascii")[:_MAX_DIAGNOSTIC].split()
    return " ".join([word[at : at + _MAX_WORD] for word in words for at in range(0, len(word), _MAX_WORD)])


def _typed(kind: str, text: str) -> bytes:
    return f"{kind}; {_plain(text)}".encode("ascii")


def _address_type(address: str) -> str:
    """RFC 3464 §2.1.2; RFC 6533 §3 for addresses that are not ASCII."""
    return "rfc822" if address.isascii() else "utf-8"


def _unitext(address: str) -> str:
    """An address as utf-8-addr-unitext, encoded so that it stays ASCII (RFC 6533 §3)."""
    if address.isascii():
        return address
    return "".join(f"\\x{{{ord(c):X}}}" if ord(c) > 126 or ord(c) < 33 or c in "\\+=" else c for c in address)


def _status_fields(one: RecipientStatus, zone: int) -> bytes:
    """One per-recipient block (RFC 3464 §2.3)."""
    out: list[bytes] = []
    if one.original:
        kind, semicolon, address = one.original.partition(";")
        if semicolon and kind.strip():
            out.append(fold("Original-Recipient", _typed(_plain(kind), _unitext(address.strip()))))
    out.append(fold("Final-Recipient", _typed(_address_type(one.final), _unitext(one.final))))
    out.append(fold("Action", one.action.encode("ascii")))
    out.append(fold("Status", _plain(one.status).encode("ascii")))
    if one.remote_mta:
        out.append(fold("Remote-MTA", _typed("dns", one.remote_mta)))
    if one.diagnostic:
        out.append(fold("Diagnostic-Code", _typed("smtp", one.diagnostic)))
    if one.last_attempt is not None:
        out.append(fold("Last-Attempt-Date", format_date(one.last_attempt, zone).encode("ascii")))
    if one.will_retry_until is not None and one.action == "delayed":
        out.append(fold("Will-Retry-Until", format_date(one.will_retry_until, zone).encode("ascii")))
    return b"".join(out)


def _explanation(report: DeliveryReport) -> bytes:
    """The part for people (RFC 3462 §2)."""
    lines = [f"This is the mail system at {_plain(report.reporting_mta)}."]
    for action in _ORDER:
        matching = [one for one in report.recipients if one.action == action]
        if not matching:
            continue
        lines += ["", _SENTENCES[action], ""]
        for one in matching:
            lines.append(f"  <{one.final.translate(_CONTROLS)}>")
            if one.remote_mta:
                lines.append(f"    host {_plain(one.remote_mta)} said:")
            reason = _plain(one.diagnostic) if one.diagnostic else f"status {_plain(one.status)}"
            while reason:
                cut = len(reason) if len(reason) <= 70 else reason.rfind(" ", 20, 70)
                cut = cut if cut > 0 else 70
                lines.append("    " + reason[:cut].strip())
                reason = reason[cut:].strip()
            if one.will_retry_until is not None and action == "delayed":
                lines.append(f"    given up on {format_date(one.will_retry_until, report.zone)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n"


def _returned(report: DeliveryReport) -> tuple[str, bytes]:
    """Type and octets of the third part: the message, or its header (RFC 3462 §3, §4)."""
    original = report.original
    if report.full:
        return "message/rfc822", original
    ends = [
        at + length for mark, length in ((b"\n\r\n", 1), (b"\n\n", 1)) if (at := original.find(mark)) >= 0
    ]
    return "text/rfc822-headers", original[: min(ends)] if ends else original


def build_dsn(report: DeliveryReport) -> bytes:
    """The notification's octets.

    Raises UnsafeValueError for values that cannot stand in a header or a boundary that occurs in the original, ValueError
    without recipients.
    """
    if not report.recipients:
        raise ValueError("a report needs recipients")
    kind, returned = _returned(report)
    delimiter = b"--" + report.boundary.encode("ascii")
    if delimiter in returned:
        raise UnsafeValueError("the boundary occurs in the original message")
    text = _explanation(report)
    eight_bit = not (text.isascii() and returned.isascii())
    worst = min((one.action for one in report.recipients), key=_ORDER.index)
    out = [
        address_field("From", [report.sender]),
        address_field("To", [("", report.recipient)]),
        text_field("Subject", _SUBJECTS[worst]),
        date_field("Date", report.date, report.zone),
        ident_field("Message-ID", [report.message_id]),
    ]
    if report.in_reply_to:
        out.append(ident_field("In-Reply-To", [report.in_reply_to]))
    out += [
        fold("Auto-Submitted", b"auto-replied"),
        fold("MIME-Version", b"1.0"),
        structured_field(
            "Content-Type",
            "multipart/report",
            {"report-type": "delivery-status", "boundary": report.boundary},
        ),
    ]
    if eight_bit:
        out.append(fold("Content-Transfer-Encoding", b"8bit"))
    out += [b"\r\n", delimiter, b"\r\n"]
    out.append(
        structured_field("Content-Type", "text/plain", {"charset": "us-ascii" if text.isascii() else "utf-8"})
    )
    if not text.isascii():
        out.append(fold("Content-Transfer-Encoding", b"8bit"))
    out += [b"\r\n", text, b"\r\n", delimiter, b"\r\n"]
    out.append(fold("Content-Type", b"message/delivery-status"))
    out.append(b"\r\n")
    if report.envelope_id:
        out.append(fold("Original-Envelope-Id", _plain(report.envelope_id).encode("ascii")))
    out.append(fold("Reporting-MTA", _typed("dns", report.reporting_mta)))
    if report.arrival is not None:
        out.append(date_field("Arrival-Date", report.arrival, report.zone))
    for one in report.recipients:
        out += [b"\r\n", _status_fields(one, report.zone)]
    out += [b"\r\n", delimiter, b"\r\n"]
    out.append(fold("Content-Type", kind.encode("ascii")))
    if not returned.isascii():
        out.append(fold("Content-Transfer-Encoding", b"8bit"))
    out += [b"\r\n", returned, b"" if returned.endswith(b"\n") else b"\r\n", b"\r\n", delimiter, b"--\r\n"]
    return b"".join(out)
