"""Commands of the AUTHORIZATION state: USER and PASS, AUTH, STLS (RFC 1939 §7, RFC 5034, RFC 2595).

Invariants: a login's outcome tells nothing about which names exist (RFC 1939 §7 allows +OK to every USER); nothing learned in
clear outlives STLS.

It must not know: how passwords are checked, sockets.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from postroom.model.credentials import saslprep
from postroom.model.errors import AuthenticationFailed
from postroom.session.pop3.sdps import Names
from postroom.wire.pop3.commands import Auth, Pass, Stls, User
from postroom.wire.pop3.replies import BeginTls, Continue, Err, Listing, Ok, ResponseCode
from postroom.wire.pop3.server import AuthResponse

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session


class MalformedResponse(AuthenticationFailed):
    """A response within AUTH was not base64, or too long."""

    default_public = "Malformed response"


async def user(session: Pop3Session, command: User) -> None:
    """USER: tells nothing of which names exist."""
    if not session.authenticator.offered(session.transport):
        session.engine.send(Err("Encryption required for authentication"))
        return
    try:
        session.user = saslprep(command.name)
    except ValueError:
        session.engine.send(Err("Characters not acceptable in a name or password"))
        return
    session.engine.send(Ok("Send the password"))


async def password(session: Pop3Session, command: Pass) -> None:
    """PASS."""
    user, session.user = session.user, None
    if not session.authenticator.offered(session.transport):
        session.engine.send(Err("Encryption required for authentication"))
    elif user is None:
        session.engine.send(Err("USER comes first"))
    elif not _acceptable(command.password):
        session.engine.send(Err("Characters not acceptable in a name or password", ResponseCode.AUTH))
    else:
        names = Names(session.hosts)
        login = session.authenticator.login(
            names.login_of(user), command.password, session.transport, "USER", "pop"
        )
        await session.log_in(login, names)


def _acceptable(text: str) -> bool:
    """Whether SASLprep takes it: what it prohibits is refused (RFC 6856 §2.2)."""
    try:
        saslprep(text)
    except ValueError:
        return False
    return True


async def auth(session: Pop3Session, command: Auth) -> None:
    """AUTH (RFC 5034 §4); alone it lists the mechanisms."""
    session.user = None
    if command.mechanism is None:
        lines = "".join(f"{name}\r\n" for name in session.authenticator.mechanisms(session.transport))
        session.engine.send(Listing("Mechanisms follow", lines.encode()))
        return
    names, challenge = Names(session.hosts), partial(_challenge, session)
    login = session.authenticator.exchange(
        command.mechanism, command.initial, session.transport, challenge, "pop", names.login_of
    )
    await session.log_in(login, names)


async def stls(session: Pop3Session, _command: Stls) -> None:
    """STLS (RFC 2595 §4)."""
    if not session.offers().stls:
        session.engine.send(Err("TLS is not available"))
        return
    if session.utf8:
        session.engine.send(Err("STLS comes before UTF8"))  # RFC 6856 §2.1
        return
    session.engine.send(BeginTls("Begin TLS"))
    await session.transport.start_tls()
    session.user = None
    session.timestamp = ""
    session.engine.language = session.language
    session.engine.tls_started(session.offers())


async def _challenge(session: Pop3Session, octets: bytes) -> bytes | None:
    session.engine.send(Continue(octets))
    event = await session.transport.next_event()
    assert isinstance(event, AuthResponse)
    if event.malformed:
        raise MalformedResponse(private=event.malformed)
    return event.octets


HANDLERS: Final[Handlers] = {User: user, Pass: password, Auth: auth, Stls: stls}
