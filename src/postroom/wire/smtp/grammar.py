"""The grammar of SMTP commands: domains, paths, parameters (RFC 5321 §4.1.2, RFC 6531 §3.3).

Purpose: ``parse_x`` reads one rule at a cursor, ``write_x`` beside it writes the same rule.

Invariants: every pattern is one character class, so matching is linear; what is parsed is an Address or a plain value that
cannot hold CR, LF or NUL; ``write_x`` refuses what its rule cannot express, so no value can smuggle a command (threats S7).

It must not know: verbs, states.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Final

from postroom.model.address import Address
from postroom.wire.cursor import Cursor
from postroom.wire.errors import LocalProtocolError, ParseError

MAX_LOCAL: Final = 64
"""Octets of a local part (RFC 5321 §4.5.3.1.1)."""
MAX_DOMAIN: Final = 255
"""Octets of a domain (RFC 5321 §4.5.3.1.2)."""
MAX_PATH: Final = 256
"""Octets of a path with its brackets (RFC 5321 §4.5.3.1.3); UTF-8 octets count alike."""
MAX_PARAMETERS: Final = 20

# RFC 5321 §4.1.2 Atom, with the UTF8-non-ascii that RFC 6531 §3.3 adds
_ATOM: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+")
# RFC 5321 §4.1.2 qtextSMTP, likewise
_QTEXT: Final = re.compile(rb"[ !#-\[\]-~\x80-\xff]+")
# RFC 5321 §4.1.2 sub-domain: the hyphens at its ends are looked at behind the match
_LABEL: Final = re.compile(rb"[A-Za-z0-9\x80-\xff-]+")
_LITERAL: Final = re.compile(rb"[!-Z^-~]+")  # RFC 5321 §4.1.3 dcontent
_KEYWORD: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]*")  # esmtp-keyword
_VALUE: Final = re.compile(rb"[!-<>-~\x80-\xff]+")  # esmtp-value, RFC 6531 §3.3
_XCHAR: Final = re.compile(rb"[!-*,-<>-~]+")  # RFC 3461 §4
_NOT_XCHAR: Final = re.compile(rb"[^!-*,-<>-~]")
# quirk: Windows hosts and printers greet with their NetBIOS name, underscores included
_HOST: Final = re.compile(rb"[A-Za-z0-9._-]+")


class SourceRoute(ParseError):
    """A path with a source route (RFC 5321 §4.1.1.3), which nobody needs and relays are probed with (threats S3)."""


def _text(octets: bytes, at: int) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ParseError("not UTF-8", at) from None


def parse_domain(cursor: Cursor) -> str:
    """Domain (RFC 5321 §4.1.2), in lower case."""
    start = cursor.pos
    while True:
        label = cursor.need(_LABEL, "a domain")
        if label[0] == 0x2D or label[-1] == 0x2D or (len(label) > 63 and label.isascii()):
            raise ParseError("not a domain", start)
        if not cursor.skip(b"."):
            break
    octets = cursor.buf[start : cursor.pos]
    if len(octets) > MAX_DOMAIN:
        raise ParseError("domain too long", start)
    return _text(octets, start).lower()


def parse_address_literal(cursor: Cursor) -> str:
    """address-literal with its brackets (RFC 5321 §4.1.3); IPv4 and IPv6 are checked, general ones only for form."""
    start = cursor.pos
    cursor.expect(b"[")
    content = cursor.need(_LITERAL, "an address literal").decode("ascii")
    cursor.expect(b"]")
    try:
        if content[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(content[5:])}]"
        if ":" not in content:
            return f"[{ipaddress.IPv4Address(content)}]"
    except ValueError:
        raise ParseError("not an IP address", start) from None
    tag = content.partition(":")[0]
    if not tag.replace("-", "a").isalnum() or tag[-1] == "-":
        raise ParseError("not an address literal", start)
    return f"[{content}]"


def parse_host(cursor: Cursor) -> str:
    """The argument of HELO and EHLO: a domain, an address literal, or whatever else is harmless and looks like a name."""
    if cursor.peek() == 0x5B:
        start = cursor.pos
        try:
            return parse_address_literal(cursor)
        except ParseError:
            # quirk: clients that write [::1] without its tag
            cursor.pos = start + 1
            content = cursor.need(_LITERAL, "an address literal").decode("ascii")
            cursor.expect(b"]")
            return f"[{content}]"
    name = cursor.need(_HOST, "a domain")
    if len(name) > MAX_DOMAIN:
        cursor.fail("domain too long")
    return name.decode("ascii")


def parse_local_part(cursor: Cursor) -> str:
    """Local-part (RFC 5321 §4.1.2), unquoted: "a b" and a\\.b come out as what they mean."""
    start = cursor.pos
    if not cursor.skip(b'"'):
        cursor.need(_ATOM, "a local part")
        while cursor.skip(b"."):
            cursor.need(_ATOM, "an atom")
        octets = cursor.buf[start : cursor.pos]
    else:
        pieces: list[bytes] = []
        while not cursor.skip(b'"'):
            text = cursor.match(_QTEXT)
            if text is not None:
                pieces.append(text)
                continue
            cursor.expect(b"\\")
            pair = cursor.take(1)
            if not 0x20 <= pair[0] <= 0x7E:
                cursor.fail("not a quoted pair")
            pieces.append(pair)
        octets = b"".join(pieces)
    if len(octets) > MAX_LOCAL:
        raise ParseError("local part too long", start)
    return _text(octets, start)


def parse_mailbox(cursor: Cursor) -> Address:
    """Mailbox (RFC 5321 §4.1.2)."""
    local = parse_local_part(cursor)
    cursor.expect(b"@")
    domain = parse_address_literal(cursor) if cursor.peek() == 0x5B else parse_domain(cursor)
    return Address(local, domain)


def write_mailbox(address: Address) -> bytes:
    """The wire form. Raises LocalProtocolError when the address has none that a peer would read alike."""
    octets = str(address).encode("utf-8", "surrogatepass")
    cursor = Cursor(octets)
    try:
        if address.domain:
            parse_mailbox(cursor)
        else:
            parse_local_part(cursor)
        cursor.finish()
    except ParseError as error:
        raise LocalProtocolError(f"not an address: {error}") from None
    return octets


def parse_reverse_path(cursor: Cursor) -> Address | None:
    """Reverse-path (RFC 5321 §4.1.2); None for ``<>``. Raises SourceRoute."""
    if cursor.skip(b"<>"):
        return None
    return _parse_path(cursor)


def parse_forward_path(cursor: Cursor) -> Address:
    """Forward-path, or ``<Postmaster>`` (RFC 5321 §4.1.1.3), whose Address has an empty domain. Raises SourceRoute."""
    if cursor.buf[cursor.pos : cursor.pos + 12].lower() == b"<postmaster>":
        local = cursor.buf[cursor.pos + 1 : cursor.pos + 11].decode("ascii")
        cursor.pos += 12
        return Address(local, "")
    return _parse_path(cursor)


def _parse_path(cursor: Cursor) -> Address:
    start = cursor.pos
    cursor.expect(b"<")
    if cursor.peek() == 0x40:
        raise SourceRoute("source route", cursor.pos)
    address = parse_mailbox(cursor)
    cursor.expect(b">")
    if cursor.pos - start > MAX_PATH:
        raise ParseError("path too long", start)
    return address


def write_path(address: Address | None) -> bytes:
    """``<>`` for None."""
    return b"<" + write_mailbox(address) + b">" if address is not None else b"<>"


def parse_parameters(cursor: Cursor) -> dict[str, str | None]:
    """Mail-parameters or Rcpt-parameters up to the end (RFC 5321 §4.1.2); keywords in upper case."""
    parameters: dict[str, str | None] = {}
    while True:
        before = cursor.pos
        while cursor.skip(b" "):
            pass
        if cursor.at_end():
            return parameters
        if cursor.pos == before:
            cursor.fail("expected a space")
        keyword = cursor.need(_KEYWORD, "a parameter").decode("ascii").upper()
        value: str | None = None
        if cursor.skip(b"="):
            at = cursor.pos
            value = _text(cursor.need(_VALUE, "a value"), at)
        if keyword in parameters:
            cursor.fail("repeated parameter")
        if len(parameters) >= MAX_PARAMETERS:
            cursor.fail("too many parameters")
        parameters[keyword] = value


def parse_number(text: str | None, digits: int = 20) -> int:
    """1*DIGIT, at most ``digits`` of them (RFC 1870 §4, RFC 3030 §2)."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > digits:
        raise ParseError("not a number")
    return int(text)


def parse_xtext(text: str) -> bytes:
    """xtext (RFC 3461 §4), decoded."""
    octets = text.encode("utf-8", "surrogatepass")
    pieces = octets.split(b"+")
    decoded = [pieces[0]]
    for piece in pieces[1:]:
        number = piece[:2]
        if len(number) != 2 or not set(number) <= set(b"0123456789ABCDEF"):
            raise ParseError("not xtext")
        decoded += (bytes.fromhex(number.decode("ascii")), piece[2:])
    for piece in (pieces[0], *(piece[2:] for piece in pieces[1:])):
        if piece and not _XCHAR.fullmatch(piece):
            raise ParseError("not xtext")
    return b"".join(decoded)


def write_xtext(octets: bytes) -> str:
    """xtext (RFC 3461 §4)."""
    return _NOT_XCHAR.sub(lambda found: b"+%02X" % found.group()[0], octets).decode("ascii")


def parse_base64(octets: bytes) -> bytes:
    """A base64 token (RFC 4954 §8), strict: alphabet, padding and the bits behind it (threats T17)."""
    try:
        decoded = base64.b64decode(octets, validate=True)
    except (binascii.Error, ValueError):
        raise ParseError("not base64") from None
    if base64.b64encode(decoded) != octets:
        raise ParseError("not canonical base64")
    return decoded


def write_base64(octets: bytes) -> bytes:
    """A base64 token."""
    return base64.b64encode(octets)
