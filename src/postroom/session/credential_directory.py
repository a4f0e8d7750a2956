"""What authentication needs of its surroundings: who there is, a pool for what blocks, a place for what happened.

It must not know: who implements it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from postroom.model.account import Account
from postroom.model.credentials import ScramKeys
from postroom.model.ids import AccountId

T = TypeVar("T")


class Executor(Protocol):
    """What needs an event loop, injected by the composition root."""

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that blocks, in a bounded pool; Unavailable when too many wait already."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def lock(self) -> AbstractAsyncContextManager[Any]:
        """A fresh mutual exclusion between coroutines."""

    def now(self) -> float:
        """A monotonic clock, in seconds."""


class StoredCredentials(Protocol):
    """What a login is verified against (``store.directory_entries.Credentials``)."""

    @property
    def login(self) -> str:
        """The canonical login, or what was given, cut to a bounded length."""

    @property
    def account(self) -> Account | None:
        """None for nobody."""

    @property
    def password_hash(self) -> str:
        """Changes when the password does."""

    @property
    def scram(self) -> ScramKeys:
        """Real keys, or stable fake ones."""

    @property
    def scram_sha1(self) -> ScramKeys:
        """The same for SCRAM-SHA-1."""

    @property
    def outdated(self) -> bool:
        """Whether a verified password should be stored anew."""

    @property
    def has_shared_secret(self) -> bool:
        """Whether what ``shared_secret`` gives is the account's."""

    def shared_secret(self) -> bytes:
        """The secret of CRAM-MD5 and APOP, or octets nobody knows, after the same work. Raises Unavailable."""

    def has_app_password(self, password: str, service: str, now: float) -> bool:
        """Whether it is an app password for a protocol (imap, pop3, submission), at a time in seconds since 1970."""

    def verify(self, password: str) -> bool:
        """Blocks; equally long for every outcome."""


class CredentialDirectory(Protocol):
    """What this module needs of the directory."""

    @property
    def version(self) -> int:
        """Changes whenever anything may have changed."""

    def credentials(self, login: str) -> StoredCredentials:
        """Never fails for a name."""

    def renew_password(self, account: AccountId, verified: str, password: str) -> None:
        """Blocks; stores the password anew if the hash is still ``verified``."""


@dataclass(slots=True, frozen=True)
class AttemptRecord:
    """For the audit log and the metrics: one finished attempt. ``login`` may be anything the peer sent."""

    session_id: str
    address: str
    mechanism: str
    login: str
    account: AccountId | None
    outcome: str
    """ok, or the private reason."""
