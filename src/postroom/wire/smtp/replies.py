"""Replies: a code, an enhanced status code, lines of text (RFC 5321 §4.2, RFC 2034).

Purpose: ``write_reply`` for the server, ``ReplyReader`` for the client, of one grammar.

Invariants: what is written holds no CR, LF or NUL inside a line and is ASCII; the reader takes what sloppy servers send
(no text, no space) but bounds it: line length, number of lines (threats S9).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from postroom.wire.errors import LocalProtocolError, RemoteProtocolError

MAX_REPLY_LINE: Final = 4096
"""Octets of a line the client reads; RFC 5321 §4.5.3.1.5 says 512, some servers put a URL in."""
MAX_REPLY_LINES: Final = 200

_ENHANCED: Final = re.compile(rb"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_UNPRINTABLE: Final = re.compile(rb"[^ -~]")


@dataclass(slots=True, frozen=True)
class Reply:
    """One reply; ``enhanced`` such as "2.1.5" is empty where none belongs (greeting, EHLO, 3xx). ``lines`` are further ones."""

    code: int
    text: str = ""
    enhanced: str = ""
    lines: tuple[str, ...] = ()

    @property
    def positive(self) -> bool:
        """2xx or 3xx."""
        return self.code < 400

    @property
    def transient(self) -> bool:
        """4xx."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5xx."""
        return self.code >= 500

    def __str__(self) -> str:
        """In one line, for logs and bounces."""
        words = (str(self.code), self.enhanced, self.text, *self.lines)
        return " ".join(word for word in words if word)


def write_reply(reply: Reply) -> bytes:
    """The wire form, each line with the code and the enhanced code (RFC 2034 §4). Raises LocalProtocolError."""
    if not 200 <= reply.code <= 599:
        raise LocalProtocolError("not a reply code")
    if not reply.lines:
        # Nearly every reply; a third of the time of the general way below.
        line = (
            f"{reply.code} {reply.enhanced} {reply.text}" if reply.enhanced else f"{reply.code} {reply.text}"
        )
        if line.isascii() and line.isprintable():
            return f"{line}\r\n".encode("ascii")
    code = str(reply.code).encode("ascii")
    prefix = reply.enhanced.encode("ascii") + b" " if reply.enhanced else b""
    texts = (reply.text, *reply.lines)
    written: list[bytes] = []
    for number, text in enumerate(texts, 1):
        octets = text.encode("ascii", "replace")
        if _UNPRINTABLE.search(octets):
            raise LocalProtocolError("control character in a reply")
        separator = b" " if number == len(texts) else b"-"
        written.append(code + separator + prefix + octets + b"\r\n")
    return b"".join(written)


class ReplyReader:
    """Gathers the lines of a reply."""

    __slots__ = ("_code", "_enhanced", "_lines")

    def __init__(self) -> None:
        self._code = 0
        self._enhanced = ""
        self._lines: list[str] = []

    def feed(self, line: bytes) -> Reply | None:
        """Take a line without its end; the reply when this was its last one. Raises RemoteProtocolError."""
        # quirk: servers that end lines with LF alone
        line = line.removesuffix(b"\r")
        if len(line) > MAX_REPLY_LINE:
            raise RemoteProtocolError("reply line too long")
        number = line[:3]
        if len(number) != 3 or not number.isdigit() or not b"2" <= number[:1] <= b"5":
            raise RemoteProtocolError("not a reply")
        separator = line[3:4]
        if separator not in (b"", b" ", b"-"):
            raise RemoteProtocolError("not a reply")
        code = int(number)
        if self._lines and code != self._code:
            raise RemoteProtocolError("reply with different codes")
        if len(self._lines) >= MAX_REPLY_LINES:
            raise RemoteProtocolError("reply with too many lines")
        self._code = code
        text = line[4:]
        found = _ENHANCED.match(text)
        if found is not None and text[found.end() : found.end() + 1] in (b"", b" ") and text[0] == line[0]:
            self._enhanced = self._enhanced or found.group().decode("ascii")
            text = text[found.end() + 1 :]
        self._lines.append(_UNPRINTABLE.sub(b"?", text).decode("ascii"))
        if separator == b"-":
            return None
        reply = Reply(code, self._lines[0], self._enhanced, tuple(self._lines[1:]))
        self._lines, self._enhanced = [], ""
        return reply
