"""Where a client writes a command: text, and literals at which it may have to stop.

Invariants: every fragment but the last ends with a literal's header; with ``non_synchronising`` (RFC 7888) there is only one
fragment. A synchronising literal is a point where the writer must wait for the server's continuation request.
"""

from __future__ import annotations

from postroom.wire.imap.values.atoms import ASTRING, can_quote, can_quote_utf8, write_quoted
from postroom.wire.imap.values.mailbox import encode_mailbox, encode_utf8_mailbox


class CommandText:
    """The fragments of one command."""

    __slots__ = ("_pieces", "fragments", "non_synchronising", "utf8")

    def __init__(self, *, non_synchronising: bool = False, utf8: bool = False) -> None:
        """``utf8``: names and quoted strings are UTF-8 (RFC 6855 §3)."""
        self.non_synchronising = non_synchronising
        self.utf8 = utf8
        self.fragments: list[bytes] = []
        self._pieces: list[bytes] = []

    def name(self, mailbox: str) -> bytes:
        """A mailbox name in the encoding that the connection has agreed on, for ``astring``."""
        return encode_utf8_mailbox(mailbox) if self.utf8 else encode_mailbox(mailbox)

    def text(self, octets: bytes) -> None:
        """Octets as they are."""
        self._pieces.append(octets)

    def literal(self, octets: bytes) -> None:
        """A literal; the fragment ends before its octets unless it is non-synchronising."""
        if self.non_synchronising:
            self._pieces.append(b"{%d+}\r\n" % len(octets))
        else:
            self._pieces.append(b"{%d}\r\n" % len(octets))
            self.fragments.append(b"".join(self._pieces))
            self._pieces.clear()
        self._pieces.append(octets)

    def string(self, octets: bytes) -> None:
        """string: quoted when it can be."""
        if can_quote(octets) or (self.utf8 and can_quote_utf8(octets)):
            self._pieces.append(write_quoted(octets))
        else:
            self.literal(octets)

    def astring(self, octets: bytes) -> None:
        """astring."""
        if ASTRING.fullmatch(octets) and octets.upper() != b"NIL":
            self._pieces.append(octets)
        else:
            self.string(octets)

    def finish(self) -> list[bytes]:
        """All fragments, the last with the command's CRLF."""
        self._pieces.append(b"\r\n")
        self.fragments.append(b"".join(self._pieces))
        self._pieces.clear()
        return self.fragments
