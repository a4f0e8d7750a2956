"""What client and server have agreed on so far, and which commands are legal then (RFC 5321 §4.1.4).

Purpose: everything that decides legality is in one value; ``objection`` is the one place that says no for reasons of
sequence, limits and extensions. The engine moves octets, this knows the rules.

It must not know: buffers, output, sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from postroom.wire.errors import ParseError
from postroom.wire.smtp.commands import (
    NOT_IMPLEMENTED,
    Auth,
    BadParameter,
    Command,
    CommandSpec,
    Data,
    Hello,
    Mail,
    Profile,
    Rcpt,
    StartTls,
    State,
    UnknownParameter,
)
from postroom.wire.smtp.events import Limits
from postroom.wire.smtp.extensions import Offers
from postroom.wire.smtp.grammar import SourceRoute
from postroom.wire.smtp.replies import Reply

SEQUENCE: Final = Reply(503, "Bad sequence of commands", "5.5.1")
TOO_LARGE: Final = Reply(552, "Message too large", "5.3.4")
_UNKNOWN: Final = Reply(500, "Unknown command", "5.5.1")
_NOT_IMPLEMENTED: Final = Reply(502, "Command not implemented", "5.5.1")
_NEEDS_SMTPUTF8: Final = Reply(553, "SMTPUTF8 is required for this address", "5.6.7")
_SYNTAX_CODES: Final[dict[type[object], str]] = {Mail: "5.1.7", Rcpt: "5.1.3", Auth: "5.5.2"}


@dataclass(slots=True)
class Conversation:
    """The state of one connection; ``mail`` is the open transaction's MAIL, ``accepted`` and ``rejected`` count its RCPTs."""

    profile: Profile
    limits: Limits
    offers: Offers = field(default_factory=Offers)
    state: State = State.CONNECTED
    hello: Hello | None = None
    authenticated: bool = False
    mail: Mail | None = None
    accepted: int = 0
    rejected: int = 0
    errors: int = 0
    unknown: int = 0
    """Unknown verbs before any HELO."""

    def leave_transaction(self, state: State) -> None:
        """The transaction is over, or there was none."""
        self.state = state
        self.mail = None
        self.accepted = self.rejected = 0

    def too_many_errors(self) -> bool:
        """Whether the client has used up its errors."""
        limits = self.limits
        if self.errors >= limits.errors or self.unknown >= limits.errors_before_auth:
            return True
        early = self.profile is Profile.SUBMISSION and not self.authenticated
        return early and self.errors >= limits.errors_before_auth

    def objection(self, command: Command) -> Reply | None:
        """Why a command that is legal in this state is refused all the same, or None."""
        match command:
            case Mail():
                return self._about_mail(command)
            case Rcpt():
                return self._about_rcpt(command)
            case Data():
                return self._about_data()
            case Auth():
                return self._about_auth()
            case StartTls() if not self.offers.starttls:
                return Reply(502, "STARTTLS is not available", "5.5.1")
            case _:
                return None

    def _about_mail(self, mail: Mail) -> Reply | None:
        if self.profile is Profile.SUBMISSION and not self.authenticated:
            starttls_first = self.offers.starttls and not self.offers.mechanisms
            return Reply(530, "Use STARTTLS first" if starttls_first else "Authenticate first", "5.7.0")
        if mail.sender is not None and not mail.smtputf8 and not str(mail.sender).isascii():
            return _NEEDS_SMTPUTF8
        if mail.size is not None and self.offers.size and mail.size > self.offers.size:
            return TOO_LARGE
        return None

    def _about_rcpt(self, rcpt: Rcpt) -> Reply | None:
        trusted = self.authenticated or self.profile is Profile.LMTP
        most = self.limits.recipients_authenticated if trusted else self.limits.recipients
        if not (self.mail is not None and self.mail.smtputf8) and not str(rcpt.recipient).isascii():
            return _NEEDS_SMTPUTF8
        if self.accepted >= most:
            # The client sends the rest in another transaction (RFC 5321 §4.5.3.1.10).
            return Reply(452, "Too many recipients", "4.5.3")
        return None

    def _about_data(self) -> Reply | None:
        if self.state is State.SENDER:
            # RFC 2033 §4.2 asks for 503 when no RCPT was successful, RFC 5321 §3.3 leaves the choice.
            if self.rejected and self.profile is not Profile.LMTP:
                return Reply(554, "No valid recipients", "5.5.1")
            return SEQUENCE
        if self.mail is not None and self.mail.body == "BINARYMIME":
            return Reply(503, "BINARYMIME needs BDAT", "5.5.1")
        return None

    def _about_auth(self) -> Reply | None:
        if self.authenticated:
            return SEQUENCE
        if self.offers.mechanisms:
            return None
        if self.offers.starttls:
            return Reply(538, "Encryption required, use STARTTLS first", "5.7.11")
        return Reply(502, "AUTH is not available", "5.5.1")


def unknown_verb(verb: bytes) -> Reply:
    """What is said to a verb that is not in the table."""
    return _NOT_IMPLEMENTED if verb in NOT_IMPLEMENTED else _UNKNOWN


def syntax_reply(spec: CommandSpec, error: ParseError) -> Reply:
    """What is said to arguments that cannot be read. Nothing of them is repeated (threats T8)."""
    match error:
        case UnknownParameter():
            return Reply(555, "Parameter not recognised", "5.5.4")
        case BadParameter():
            return Reply(501, f"Syntax: {spec.verb} {spec.syntax}", "5.5.4")
        case SourceRoute():
            return Reply(553, "Source routes are not accepted", _SYNTAX_CODES[spec.kind])
        case _:
            text = f"Syntax: {spec.verb} {spec.syntax}".rstrip()
            return Reply(501, text, _SYNTAX_CODES.get(spec.kind, "5.5.4"))
