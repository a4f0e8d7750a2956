"""What a POP3 server says: reply lines, challenges, listings and bodies as values, with their octets.

Invariants: a text never holds CR or LF, is cut to fit RFC 2449 §4's 512 octets, and never repeats what the client sent.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.grammar import MAX_RESPONSE_LINE, parse_base64


class ResponseCode(StrEnum):
    """Extended response codes; after RFC 2449 §8 and RFC 3206 §3."""

    IN_USE = "IN-USE"
    LOGIN_DELAY = "LOGIN-DELAY"
    SYS_TEMP = "SYS/TEMP"
    SYS_PERM = "SYS/PERM"
    AUTH = "AUTH"
    UTF8 = "UTF8"
    """RFC 6856 §5."""


@dataclass(slots=True, frozen=True)
class Ok:
    """``+OK text``, one line."""

    text: str = ""


@dataclass(slots=True, frozen=True)
class LoggedIn:
    """``+OK text``; the session is in the TRANSACTION state from here on."""

    text: str = ""


@dataclass(slots=True, frozen=True)
class Goodbye:
    """``+OK text``, then the connection ends."""

    text: str = ""


@dataclass(slots=True, frozen=True)
class Err:
    """``-ERR [code] text``; with ``close`` the connection ends after it."""

    text: str
    code: ResponseCode | None = None
    close: bool = False


@dataclass(slots=True, frozen=True)
class BeginTls:
    """``+OK text`` in answer to STLS; nothing more is read in clear."""

    text: str = ""


@dataclass(slots=True, frozen=True)
class BeginUpload:
    """``+OK text``; the client sends lines up to a lone dot."""

    text: str = ""


@dataclass(slots=True, frozen=True)
class Continue:
    """``+ base64``: a challenge within AUTH (RFC 5034 §4)."""

    octets: bytes


@dataclass(slots=True, frozen=True)
class Listing:
    """``+OK text`` and lines: ``octets`` are whole lines with CRLF, none beginning with a dot."""

    text: str
    octets: bytes


@dataclass(slots=True, frozen=True)
class BodyBegin:
    """``+OK text``, then BodyChunks: a message, or a listing too long for one Listing."""

    text: str = ""


@dataclass(slots=True, frozen=True)
class BodyChunk:
    """The next octets of a message as stored; stuffed on the way out."""

    octets: bytes


@dataclass(slots=True, frozen=True)
class BodyEnd:
    """The message is complete."""


Reply = (
    Ok
    | LoggedIn
    | Goodbye
    | Err
    | BeginTls
    | BeginUpload
    | Continue
    | Listing
    | BodyBegin
    | BodyChunk
    | BodyEnd
)


def write_ok(text: str) -> bytes:
    """``+OK text`` with CRLF."""
    return (_line(f"+OK {text}") if text else b"+OK") + b"\r\n"


def write_err(text: str, code: ResponseCode | None = None) -> bytes:
    """``-ERR [code] text`` with CRLF."""
    return _line(f"-ERR [{code}] {text}" if code else f"-ERR {text}") + b"\r\n"


def write_continue(octets: bytes) -> bytes:
    """``+ base64`` with CRLF."""
    return b"+ " + b64encode(octets) + b"\r\n"


def _line(text: str) -> bytes:
    octets = " ".join(text.split()).encode("utf-8", "replace")
    if len(octets) > MAX_RESPONSE_LINE - 2:
        octets = octets[: MAX_RESPONSE_LINE - 2].decode("utf-8", "ignore").encode()
    return octets


@dataclass(slots=True, frozen=True)
class StatusLine:
    """A reply line as the client sees it; ``code`` is any extended response code, in upper case."""

    ok: bool
    text: str
    code: str = ""


_CODE: Final = re.compile(r"\[([^\[\]]{1,64})\] ?")


def parse_status(line: bytes) -> StatusLine:
    """``+OK`` or ``-ERR`` with text. Raises ParseError for anything else."""
    text = line.decode("utf-8", "replace")
    word, _, rest = text.partition(" ")
    if word == "+OK":
        return StatusLine(True, rest)
    if word != "-ERR":
        raise ParseError("neither +OK nor -ERR")
    found = _CODE.match(rest)
    if found is None:
        return StatusLine(False, rest)
    return StatusLine(False, rest[found.end() :], found[1].upper())


def parse_continue(line: bytes) -> bytes | None:
    """The challenge of a line that begins with ``+ ``, None for another line. Raises ParseError for bad base64."""
    if line[:2] != b"+ " and line != b"+":
        return None
    return parse_base64(line[2:])
