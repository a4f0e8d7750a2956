"""Commands about the connection: RFC 3501 §6.1 and §6.2, with the initial response of RFC 4959."""

from __future__ import annotations

import binascii
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.errors import ParseError
from postroom.wire.imap.commands import Authenticate, Capability, Login, Logout, Noop, StartTls
from postroom.wire.imap.plain import no_arguments
from postroom.wire.imap.spec import ANY, CommandSpec, State
from postroom.wire.imap.values.atoms import ASTRING, parse_atom, parse_text_astring
from postroom.wire.imap.writer import CommandText


def parse_login(cursor: Cursor) -> Login:
    """login = "LOGIN" SP userid SP password (RFC 3501 §9); both must be UTF-8 without NUL."""
    cursor.expect(b" ")
    user = parse_text_astring(cursor)
    cursor.expect(b" ")
    password = parse_text_astring(cursor)
    cursor.finish()
    return Login(user, password)


def write_login(text: CommandText, command: Login) -> None:
    """The arguments of LOGIN."""
    text.text(b" ")
    text.astring(command.user.encode())
    text.text(b" ")
    text.astring(command.password.encode())


def parse_authenticate(cursor: Cursor) -> Authenticate:
    """authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] (RFC 4959 §3)."""
    cursor.expect(b" ")
    mechanism = parse_atom(cursor).decode("ascii").upper()
    initial = None
    if cursor.skip(b" "):
        initial = b"" if cursor.skip(b"=") else decode_base64(cursor.need(ASTRING, "initial response"))
    cursor.finish()
    return Authenticate(mechanism, initial)


def write_authenticate(text: CommandText, command: Authenticate) -> None:
    """The arguments of AUTHENTICATE."""
    text.text(b" " + command.mechanism.encode("ascii"))
    if command.initial is not None:
        text.text(b" " + (binascii.b2a_base64(command.initial, newline=False) or b"="))


def decode_base64(octets: bytes) -> bytes:
    """base64 of RFC 3501 §9, strictly (threats T17); may be empty. Raises ParseError."""
    try:
        return binascii.a2b_base64(octets, strict_mode=True) if octets else b""
    except ValueError:
        raise ParseError("bad base64") from None


ROWS: Final[tuple[CommandSpec, ...]] = (
    no_arguments(b"CAPABILITY", ANY, Capability),
    no_arguments(b"NOOP", ANY, Noop),
    no_arguments(b"LOGOUT", ANY, Logout),
    no_arguments(b"STARTTLS", State.NOT_AUTHENTICATED, StartTls, last=True),
    CommandSpec(b"LOGIN", State.NOT_AUTHENTICATED, parse_login, write_login, Login),
    CommandSpec(
        b"AUTHENTICATE",
        State.NOT_AUTHENTICATED,
        parse_authenticate,
        write_authenticate,
        Authenticate,
        last=True,
    ),
)
