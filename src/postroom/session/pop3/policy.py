"""What a server grants maildrops: how soon a user may come back, how long messages stay (RFC 2449 §6.5, §6.7).

Invariants: before the login the strictest terms of all users are announced, for nobody is known yet; afterwards the user's own.

It must not know: configuration, where times of logins are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from postroom.model.errors import PostroomError
from postroom.model.ids import AccountId
from postroom.session.pop3.surrogates import Measures, MeasuresHere
from postroom.session.pop3.uniqueids import NoUniqueIds, UniqueIds
from postroom.wire.pop3.catalogue import DEFAULT


class TooSoon(PostroomError):
    """The user has logged in a short while ago (RFC 2449 §8.1.1)."""

    default_public = "You have logged in a short while ago, try again later"


@dataclass(slots=True, frozen=True)
class Terms:
    """``login_delay`` is in seconds, ``expire`` in days, None for never; 0 days mean that what was retrieved goes with QUIT."""

    login_delay: int = 0
    expire: int | None = None


@dataclass(slots=True, frozen=True)
class Policy:
    """Terms for everybody, and for accounts by name."""

    terms: Terms = Terms()
    accounts: Mapping[str, Terms] = field(default_factory=dict)

    def of(self, account: str) -> Terms:
        """The terms of one account, by its name."""
        return self.accounts.get(account, self.terms)

    def strictest(self) -> Terms:
        """The largest delay and the shortest stay of any user."""
        every = (self.terms, *self.accounts.values())
        stays = [each.expire for each in every if each.expire is not None]
        return Terms(max(each.login_delay for each in every), min(stays, default=None))

    @property
    def expires(self) -> bool:
        """Whether messages of anybody go after some days."""
        return any(each.expire for each in (self.terms, *self.accounts.values()))

    @property
    def delay_differs(self) -> bool:
        """Whether LOGIN-DELAY depends on the user."""
        return any(each.login_delay != self.terms.login_delay for each in self.accounts.values())

    @property
    def expire_differs(self) -> bool:
        """Whether EXPIRE depends on the user."""
        return any(each.expire != self.terms.expire for each in self.accounts.values())


class Logins(Protocol):
    """When accounts logged in last, shared by all workers. Used by the holder of the maildrop's lock alone."""

    def last(self, account: AccountId) -> float | None:
        """Seconds since 1970, None for never. Raises Unavailable."""

    def note(self, account: AccountId, now: float) -> None:
        """Remember a login. Raises Unavailable."""


class LoginsHere:
    """In memory: for one process alone."""

    def __init__(self) -> None:
        self._times: dict[AccountId, float] = {}

    def last(self, account: AccountId) -> float | None:
        """Seconds since 1970, None for never."""
        return self._times.get(account)

    def note(self, account: AccountId, now: float) -> None:
        """Remember a login."""
        self._times[account] = now


@dataclass(slots=True, frozen=True)
class Rules:
    """A policy with what it takes to keep it; ``clock`` gives seconds since 1970;
    ``language`` is that of texts until LANG asks for another one."""

    policy: Policy = Policy()
    logins: Logins = field(default_factory=LoginsHere)
    clock: Callable[[], float] = lambda: 0.0
    language: str = DEFAULT
    measures: Measures = field(default_factory=MeasuresHere)
    unique_ids: UniqueIds = field(default_factory=NoUniqueIds)

    def admit(self, account: AccountId, terms: Terms) -> None:
        """Let a user in who has proved to be there, or raise TooSoon; Unavailable when times cannot be kept."""
        if not terms.login_delay:
            return
        now, last = self.clock(), self.logins.last(account)
        # A time to come is a clock that was set back: nobody is shut out for that.
        if last is not None and 0 <= now - last < terms.login_delay:
            raise TooSoon(private=f"last login {now - last:.0f} s ago")
        self.logins.note(account, now)
