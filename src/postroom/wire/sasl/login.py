"""LOGIN (draft-murchison-sasl-login-00, never an RFC): user name and password asked one after the other.

Kept because Outlook and many devices know nothing else. The prompts are not interpreted by clients.
"""

from __future__ import annotations

from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.sasl.api import (
    Challenge,
    ChannelBindings,
    Failure,
    MechanismSpec,
    NeedsPassword,
    ServerStep,
)

MAX_PART = 255


class LoginServer:
    """The server's side of LOGIN."""

    __slots__ = ("_done", "_user")

    def __init__(self, _bindings: ChannelBindings | None = None) -> None:
        self._user: str | None = None
        self._done = False

    def step(self, response: bytes | None) -> ServerStep:
        """User name, then password. An initial response is the user name."""
        # quirk: Outlook sends the user name as an initial response, although the draft has none
        if self._done:
            raise LocalProtocolError("the exchange is over")
        if response is None:
            return Challenge(b"Username:")
        try:
            text = response.decode()
        except UnicodeDecodeError:
            text = ""
        if not text or len(response) > MAX_PART or "\0" in text:
            self._done = True
            return Failure("LOGIN: an empty, overlong or undecodable part")
        if self._user is None:
            self._user = text
            return Challenge(b"Password:")
        self._done = True
        return NeedsPassword(self._user, text)

    def secret(self, _keys: object) -> ServerStep:
        """Never asked for."""
        raise LocalProtocolError("LOGIN asks for no secret")


class LoginClient:
    """The client's side of LOGIN."""

    __slots__ = ("_answers",)

    def __init__(self, authcid: str, password: str, _bindings: ChannelBindings | None = None) -> None:
        self._answers = [password.encode(), authcid.encode()]

    def initial(self) -> bytes | None:
        """The server speaks first."""
        return None

    def step(self, _challenge: bytes) -> bytes:
        """The user name to the first prompt, the password to the second, whatever they say."""
        if not self._answers:
            raise RemoteProtocolError("LOGIN: a third prompt")
        return self._answers.pop()

    @property
    def complete(self) -> bool:
        """True once both prompts were answered."""
        return not self._answers


LOGIN = MechanismSpec("LOGIN", LoginServer, LoginClient, reveals_password=True)
