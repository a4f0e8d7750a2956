"""The commands of SMTP and LMTP: a class, a parser, a writer and a row each (RFC 5321 §4.1.1, RFC 2033 §4).

Purpose: everything that depends on the verb is in ``COMMANDS``: how it is read, in which states it is legal, whether a
client may send more behind it in the same segment. Server and client use the same classes.

Invariants: commands are immutable values; ``write_command(parse_command(line))`` means the same as ``line``.

It must not know: what a session makes of a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from functools import lru_cache
from typing import Any, Final

from postroom.model.address import Address
from postroom.wire.cursor import Cursor
from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.smtp.grammar import (
    parse_base64,
    parse_forward_path,
    parse_host,
    parse_mailbox,
    parse_number,
    parse_parameters,
    parse_reverse_path,
    parse_xtext,
    write_base64,
    write_path,
    write_xtext,
)

_REMEMBERED: Final = 4096
"""MAIL and RCPT that are remembered, of each."""
_SHORT: Final = 128
"""Octets of an argument that is remembered."""


class Profile(Enum):
    """What a listener speaks."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    LMTP = "lmtp"


class State(Flag):
    """Where a session is; a command's row says in which it is legal."""

    CONNECTED = auto()
    """Before HELO, EHLO or LHLO."""
    READY = auto()
    SENDER = auto()
    """MAIL was accepted."""
    RECIPIENTS = auto()
    """And at least one RCPT."""
    CHUNKS = auto()
    """Between the first and the last BDAT."""
    FAILED = auto()
    """A BDAT was refused; nothing but RSET leads on (RFC 3030 §2)."""

    TRANSACTION = SENDER | RECIPIENTS | CHUNKS | FAILED
    ANY = CONNECTED | READY | TRANSACTION


class UnknownParameter(ParseError):
    """A MAIL or RCPT parameter that is not offered (RFC 5321 §4.1.1.11)."""


class BadParameter(ParseError):
    """Parameters that cannot be read, or one with a value it cannot have."""


# --- commands


@dataclass(slots=True, frozen=True)
class Hello:
    """HELO, EHLO or LHLO with what the client says it is called."""

    verb: str
    domain: str

    @property
    def extended(self) -> bool:
        """Whether extensions may be used."""
        return self.verb != "HELO"


@dataclass(slots=True, frozen=True)
class StartTls:
    """STARTTLS (RFC 3207)."""


@dataclass(slots=True, frozen=True)
class Auth:
    """AUTH (RFC 4954 §4); ``initial`` is decoded, None when absent."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(slots=True, frozen=True)
class Mail:
    """MAIL; ``sender`` is None for the null reverse-path. ``size`` RFC 1870, ``body`` RFC 6152 and RFC 3030, ``smtputf8``
    RFC 6531, ``auth`` RFC 4954 §5 (an address, "<>" or None)."""

    sender: Address | None
    size: int | None = None
    body: str = "7BIT"
    smtputf8: bool = False
    auth: str | None = None


@dataclass(slots=True, frozen=True)
class Rcpt:
    """RCPT; the Address of ``<Postmaster>`` has an empty domain."""

    recipient: Address


@dataclass(slots=True, frozen=True)
class Data:
    """DATA."""


@dataclass(slots=True, frozen=True)
class Bdat:
    """BDAT (RFC 3030 §2): ``size`` octets follow."""

    size: int
    last: bool = False


@dataclass(slots=True, frozen=True)
class Rset:
    """RSET."""


@dataclass(slots=True, frozen=True)
class Noop:
    """NOOP; an argument is ignored."""


@dataclass(slots=True, frozen=True)
class Quit:
    """QUIT."""


@dataclass(slots=True, frozen=True)
class Vrfy:
    """VRFY."""

    text: str


@dataclass(slots=True, frozen=True)
class Expn:
    """EXPN."""

    text: str


@dataclass(slots=True, frozen=True)
class Help:
    """HELP."""

    topic: str = ""


Command = Hello | StartTls | Auth | Mail | Rcpt | Data | Bdat | Rset | Noop | Quit | Vrfy | Expn | Help


# --- readers: each takes what follows the verb and its space, without trailing white space


def _parse_hello(verb: str) -> Callable[[bytes], Hello]:
    def parse(argument: bytes) -> Hello:
        cursor = Cursor(argument)
        domain = parse_host(cursor)
        cursor.finish()
        return Hello(verb, domain)

    return parse


def _parse_bare(command: Command) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        if argument:
            raise ParseError("no argument is allowed")
        return command

    return parse


_MECHANISM: Final = re.compile(rb"[A-Za-z0-9_-]{1,20}")  # RFC 4422 §3.1


def _parse_auth(argument: bytes) -> Auth:
    cursor = Cursor(argument)
    mechanism = cursor.need(_MECHANISM, "a mechanism").decode("ascii").upper()
    initial: bytes | None = None
    if cursor.skip(b" "):
        token = argument[cursor.pos :]
        if not token:
            cursor.fail("expected an initial response")
        initial = b"" if token == b"=" else parse_base64(token)
    else:
        cursor.finish()
    return Auth(mechanism, initial)


def _after_colon(argument: bytes, word: bytes) -> Cursor:
    cursor = Cursor(argument)
    if argument[: len(word)].upper() != word:
        cursor.fail("expected FROM: or TO:")
    cursor.pos = len(word)
    # quirk: Outlook 2003, scanners and scripts put a space behind the colon
    while cursor.skip(b" "):
        pass
    return cursor


def _body(value: str | None) -> str:
    body = (value or "").upper()
    if body not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise ParseError("unknown BODY")
    return body


def _auth_parameter(value: str | None) -> str:
    if not value:
        raise ParseError("AUTH without a value")
    octets = parse_xtext(value)
    if octets != b"<>":
        cursor = Cursor(octets)
        parse_mailbox(cursor)
        cursor.finish()
    return octets.decode("utf-8")


def _remembered(parse: Callable[[bytes], Command]) -> Callable[[bytes], Command]:
    """The parser with a memory, for commands are values and a busy peer repeats its own: a tenth of the time of reading them
    anew. Bounded in entries and in octets of each; an error is not remembered."""
    known = lru_cache(_REMEMBERED)(parse)

    def recall(argument: bytes) -> Command:
        return known(argument) if len(argument) <= _SHORT else parse(argument)

    return recall


def _parse_mail(argument: bytes) -> Mail:
    cursor = _after_colon(argument, b"FROM:")
    sender = parse_reverse_path(cursor)
    try:
        return _with_parameters(sender, parse_parameters(cursor))
    except UnknownParameter:
        raise
    except ParseError as error:
        raise BadParameter(str(error), cursor.pos) from error


def _with_parameters(sender: Address | None, parameters: dict[str, str | None]) -> Mail:
    size: int | None = None
    body, smtputf8, auth = "7BIT", False, None
    for keyword, value in parameters.items():
        match keyword:
            case "SIZE":
                size = parse_number(value)
            case "BODY":
                body = _body(value)
            case "SMTPUTF8":
                if value is not None:
                    raise ParseError("SMTPUTF8 takes no value")
                smtputf8 = True
            case "AUTH":
                auth = _auth_parameter(value)
            case _:
                raise UnknownParameter("unknown parameter")
    return Mail(sender, size, body, smtputf8, auth)


def _parse_rcpt(argument: bytes) -> Rcpt:
    cursor = _after_colon(argument, b"TO:")
    recipient = parse_forward_path(cursor)
    try:
        parameters = parse_parameters(cursor)
    except ParseError as error:
        raise BadParameter(str(error), cursor.pos) from error
    if parameters:
        raise UnknownParameter("unknown parameter", cursor.pos)
    return Rcpt(recipient)


def _parse_bdat(argument: bytes) -> Bdat:
    words = argument.split(b" ")
    if len(words) > 2 or (len(words) == 2 and words[1].upper() != b"LAST"):
        raise ParseError("expected a size and LAST")
    return Bdat(parse_number(words[0].decode("ascii", "replace")), len(words) == 2)


def _text(argument: bytes) -> str:
    try:
        return argument.decode("utf-8")
    except UnicodeDecodeError:
        raise ParseError("not UTF-8") from None


def _parse_vrfy(argument: bytes) -> Vrfy:
    if not argument:
        raise ParseError("expected a name")
    return Vrfy(_text(argument))


def _parse_expn(argument: bytes) -> Expn:
    if not argument:
        raise ParseError("expected a name")
    return Expn(_text(argument))


# --- writers


def _write_mail(mail: Mail) -> bytes:
    words = [b"MAIL FROM:" + write_path(mail.sender)]
    if mail.size is not None:
        words.append(b"SIZE=%d" % mail.size)
    if mail.body != "7BIT":
        words.append(b"BODY=" + mail.body.encode("ascii"))
    if mail.smtputf8:
        words.append(b"SMTPUTF8")
    if mail.auth is not None:
        words.append(b"AUTH=" + write_xtext(mail.auth.encode("utf-8")).encode("ascii"))
    return b" ".join(words)


def _write_auth(auth: Auth) -> bytes:
    if auth.initial is None:
        return b"AUTH " + auth.mechanism.encode("ascii")
    return b"AUTH " + auth.mechanism.encode("ascii") + b" " + (write_base64(auth.initial) or b"=")


def _write_word(verb: bytes, text: str) -> bytes:
    return verb + b" " + text.encode("utf-8") if text else verb


# --- the table


@dataclass(slots=True, frozen=True)
class CommandSpec:
    """A row: ``states`` in which it is legal, ``groupable`` when more may follow in the same segment before its reply
    (RFC 2920 §3.1; VRFY, EXPN, NOOP and QUIT must come last too, but nothing can be injected behind them)."""

    verb: str
    kind: type[Any]
    parse: Callable[[bytes], Command]
    write: Callable[[Any], bytes]
    states: State
    groupable: bool = True
    profiles: frozenset[Profile] = frozenset(Profile)
    syntax: str = ""


_SMTP_ONLY: Final = frozenset({Profile.SMTP, Profile.SUBMISSION})
_LMTP_ONLY: Final = frozenset({Profile.LMTP})


def _write_hello(hello: Hello) -> bytes:
    return _write_word(hello.verb.encode("ascii"), hello.domain)


COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("HELO", Hello, _parse_hello("HELO"), _write_hello, State.ANY, False, _SMTP_ONLY, "domain"),
    CommandSpec("EHLO", Hello, _parse_hello("EHLO"), _write_hello, State.ANY, False, _SMTP_ONLY, "domain"),
    CommandSpec("LHLO", Hello, _parse_hello("LHLO"), _write_hello, State.ANY, False, _LMTP_ONLY, "domain"),
    CommandSpec("STARTTLS", StartTls, _parse_bare(StartTls()), lambda _: b"STARTTLS", State.READY, False),
    CommandSpec(
        "AUTH", Auth, _parse_auth, _write_auth, State.READY, False, syntax="mechanism [initial-response]"
    ),
    CommandSpec(
        "MAIL",
        Mail,
        _remembered(_parse_mail),
        _write_mail,
        State.READY,
        syntax="FROM:<address> [parameters]",
    ),
    CommandSpec(
        "RCPT",
        Rcpt,
        _remembered(_parse_rcpt),
        lambda rcpt: b"RCPT TO:" + write_path(rcpt.recipient),
        State.SENDER | State.RECIPIENTS,
        syntax="TO:<address>",
    ),
    CommandSpec("DATA", Data, _parse_bare(Data()), lambda _: b"DATA", State.SENDER | State.RECIPIENTS, False),
    CommandSpec(
        "BDAT",
        Bdat,
        _parse_bdat,
        lambda bdat: b"BDAT %d" % bdat.size + (b" LAST" if bdat.last else b""),
        State.RECIPIENTS | State.CHUNKS,
        syntax="size [LAST]",
    ),
    CommandSpec("RSET", Rset, _parse_bare(Rset()), lambda _: b"RSET", State.ANY),
    CommandSpec("NOOP", Noop, lambda _: Noop(), lambda _: b"NOOP", State.ANY),
    CommandSpec("QUIT", Quit, _parse_bare(Quit()), lambda _: b"QUIT", State.ANY),
    CommandSpec(
        "VRFY", Vrfy, _parse_vrfy, lambda vrfy: _write_word(b"VRFY", vrfy.text), State.ANY, syntax="name"
    ),
    CommandSpec(
        "EXPN", Expn, _parse_expn, lambda expn: _write_word(b"EXPN", expn.text), State.ANY, syntax="name"
    ),
    CommandSpec(
        "HELP",
        Help,
        lambda argument: Help(_text(argument)),
        lambda help_: _write_word(b"HELP", help_.topic),
        State.ANY,
    ),
)
BY_VERB: Final = {spec.verb.encode("ascii"): spec for spec in COMMANDS}
_BY_KIND: Final = {spec.kind: spec for spec in COMMANDS}
NOT_IMPLEMENTED: Final = frozenset({b"SEND", b"SOML", b"SAML", b"TURN", b"ETRN", b"ATRN", b"BURL"})
"""Verbs that exist and are not served here: 502 instead of 500 (RFC 5321 §4.2.4)."""


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """The verb in upper case and what follows it; trailing white space is dropped (RFC 5321 §4.1.1)."""
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    return verb.upper(), argument.lstrip(b" ")


def parse_command(line: bytes) -> Command:
    """A whole line without its CRLF. Raises ParseError (UnknownParameter, SourceRoute)."""
    verb, argument = split_command(line)
    spec = BY_VERB.get(verb)
    if spec is None:
        raise ParseError("unknown verb")
    return spec.parse(argument)


def write_command(command: Command) -> bytes:
    """The line with its CRLF. Raises LocalProtocolError when a value cannot be written safely (threats S7)."""
    line = _BY_KIND[type(command)].write(command)
    if b"\r" in line or b"\n" in line or b"\0" in line:
        raise LocalProtocolError("line end inside a command")
    return line + b"\r\n"
