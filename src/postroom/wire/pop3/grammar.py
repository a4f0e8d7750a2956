"""Grammar of POP3: message numbers, words, base64 in AUTH. One function a rule, ``parse_x`` raises ParseError.

The formal syntax is RFC 2449 §9 where RFC 1939 has prose only.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import Final

from postroom.wire.errors import ParseError

MAX_COMMAND_LINE: Final = 255
"""RFC 2449 §4, CRLF included."""
MAX_RESPONSE_LINE: Final = 512
"""RFC 2449 §4, CRLF included."""
MAX_AUTH_LINE: Final = 12_288
"""Octets of an AUTH command or a response within the exchange, CRLF included."""
MAX_NUMBER_DIGITS: Final = 10
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def parse_number(text: bytes) -> int:
    """A message number or line count: decimal digits only (RFC 1939 §3)."""
    if not text.isdigit():
        raise ParseError("a number is expected")
    if len(text) > MAX_NUMBER_DIGITS:
        raise ParseError("the number is too large")
    return int(text)


def parse_text(text: bytes) -> str:
    """A name or password: UTF-8 without control characters."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise ParseError("not UTF-8") from error
    if not decoded or _CONTROL.search(decoded):
        raise ParseError("empty, or a control character")
    return decoded


def parse_mechanism(text: bytes) -> str:
    """sasl-mech (RFC 4422 §3.1), folded to upper case."""
    name = text.upper()
    if not 1 <= len(name) <= 20 or not name.replace(b"-", b"").replace(b"_", b"").isalnum():
        raise ParseError("not a mechanism name")
    return name.decode()


def parse_base64(text: bytes) -> bytes:
    """Strict base64 (RFC 4648 §4), nothing tolerated."""
    try:
        return a2b_base64(text, strict_mode=True) if text else b""
    except Base64Error as error:
        raise ParseError("bad base64") from error


def parse_initial_response(text: bytes) -> bytes:
    """The initial response of AUTH; ``=`` is the empty one (RFC 5034 §4)."""
    if text == b"=":
        return b""
    if not text:
        raise ParseError("an empty initial response is written =")
    return parse_base64(text)


def write_initial_response(octets: bytes) -> bytes:
    """The opposite of ``parse_initial_response``."""
    return b64encode(octets) or b"="
