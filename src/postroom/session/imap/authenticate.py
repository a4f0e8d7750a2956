"""LOGIN and AUTHENTICATE (RFC 3501 §6.2.2, §6.2.3, RFC 4959), UNAUTHENTICATE (RFC 8437)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.model.account import Account
from postroom.model.errors import PostroomError, Unavailable
from postroom.session.authentication import (
    EncryptionRequired,
    ExchangeCancelled,
    MechanismUnknown,
)
from postroom.session.imap.errors import code_of
from postroom.wire.imap.commands import Authenticate, Login
from postroom.wire.imap.events import AuthCancelled, AuthResponse, Request
from postroom.wire.imap.responses import CapabilityCode, Continue, Kind, Tagged, Word

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession


async def login(session: ImapSession, request: Request) -> None:
    """LOGIN."""
    command = request.command
    assert isinstance(command, Login)
    try:
        account = await session.services.authenticator.login(
            command.user, command.password, session.transport, service="imap"
        )
        await _enter(session, request, account)
    except PostroomError as error:
        _refuse(session, request, error)


async def authenticate(session: ImapSession, request: Request) -> None:
    """AUTHENTICATE: the exchange runs inside this handler, event by event."""
    command = request.command
    assert isinstance(command, Authenticate)
    malformed = False

    async def challenge(octets: bytes) -> bytes | None:
        nonlocal malformed
        session.send(Continue(challenge=octets))
        event = await session.transport.next_event()
        if isinstance(event, AuthResponse):
            return event.data
        assert isinstance(event, AuthCancelled)
        malformed = event.malformed
        return None

    try:
        account = await session.services.authenticator.exchange(
            command.mechanism, command.initial, session.transport, challenge, "imap"
        )
        await _enter(session, request, account)
    except ExchangeCancelled as error:
        text = "Response is not base64" if malformed else error.public
        session.send(Tagged(request.tag, Kind.BAD, text))
        session.login_failed()
    except PostroomError as error:
        _refuse(session, request, error)


async def unauthenticate(session: ImapSession, request: Request) -> None:
    """UNAUTHENTICATE: nothing of the user is left on the connection. Failed logins still count: it cannot start them anew."""
    session.forget_user()
    session.ok(request, "Nobody is logged in now")
    await session.transport.stop_compression()


async def _enter(session: ImapSession, request: Request, account: Account) -> None:
    await session.services.welcome(account)
    if not session.admit(account):
        session.no(request, "Too many connections of this user from this address", Word.LIMIT)
        return
    # The engine counts as logged in once the OK is sent, but the OK itself carries the capabilities of afterwards.
    session.ok(request, "Logged in", CapabilityCode(session.capabilities_after_login()))


def _refuse(session: ImapSession, request: Request, error: PostroomError) -> None:
    match error:
        case EncryptionRequired():
            session.no(request, error.public, Word.PRIVACYREQUIRED)
        case MechanismUnknown():
            session.no(request, error.public, Word.CANNOT)
        case Unavailable():
            session.no(request, error.public, code_of(error))
            return
        case _:
            session.no(request, error.public, code_of(error))
    session.login_failed()
