"""Trace fields: Received and Return-Path, put in front of the stored octets (RFC 5321 §4.4).

Invariants: whatever the client called itself, a field stays one field: values that do not fit their grammar are left out,
nothing is escaped on trust (threats S7). Every stored message begins with the Return-Path written here, which the queue
takes off again when the message leaves (RFC 5321 §4.4 forbids it there).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postroom.mime.date import format_date
from postroom.model.address import Address

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_LITERAL: Final = re.compile(r"\[[A-Za-z0-9.:-]{1,100}\]")
_ATOM: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_COMMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
RETURN_PATH: Final = b"Return-Path: "


@dataclass(slots=True, frozen=True)
class Trace:
    """What a Received field tells. ``protocol`` is registered by RFC 3848 or RFC 6531 §4.3; ``recipient`` is set when there
    is one only, so that blind copies stay blind; ``date`` in seconds since 1970."""

    hello: str
    peer_address: str
    hostname: str
    protocol: str
    id: str
    date: int
    tls_version: str = ""
    tls_cipher: str = ""
    recipient: Address | None = None


def protocol_name(
    base: str, *, extended: bool = True, tls: bool = False, authenticated: bool = False, utf8: bool = False
) -> str:
    """The ``with`` of a Received field: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, LMTP..., UTF8SMTPSA (RFC 3848, RFC 6531)."""
    if base == "SMTP" and not extended:
        return "SMTP"
    name = "UTF8" + base if utf8 else base if base == "LMTP" else "E" + base
    return name + ("S" if tls else "") + ("A" if authenticated else "")


def received_field(trace: Trace) -> bytes:
    """The field with its CRLF, folded."""
    lines = [_from(trace.hello, trace.peer_address)]
    lines.append(f"by {trace.hostname} (postroom) with {trace.protocol} id {_id(trace.id)}")
    if _COMMENT.fullmatch(trace.tls_version) and _COMMENT.fullmatch(trace.tls_cipher):
        lines.append(f"({trace.tls_version} {trace.tls_cipher})")
    last = _date(trace.date)
    if trace.recipient is not None and trace.recipient.domain:
        lines.append(f"for <{trace.recipient}>; {last}")
    else:
        lines[-1] += ";"
        lines.append(last)
    return "\r\n\t".join(lines).encode("utf-8") + b"\r\n"


def return_path_field(sender: Address | None) -> bytes:
    """The field with its CRLF, on one line."""
    return RETURN_PATH + b"<" + (str(sender).encode("utf-8") if sender is not None else b"") + b">\r\n"


@lru_cache(1024)
def _from(hello: str, peer_address: str) -> str:
    """The first line: the same for every message of a client."""
    literal = _address_literal(peer_address)
    harmless = _HOST.fullmatch(hello) or _LITERAL.fullmatch(hello)
    source = hello if harmless else literal or "unknown"
    return f"Received: from {source}" + (f" ({literal})" if literal else " (local socket)")


_date: Final = lru_cache(16)(format_date)  # the same for every message of a second


def _id(text: str) -> str:
    return text if _ATOM.fullmatch(text) else "unknown"


@lru_cache(4096)
def _address_literal(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    return f"[IPv6:{parsed}]" if parsed.version == 6 else f"[{parsed}]"
