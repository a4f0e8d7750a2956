"""Who a recipient is: local accounts, addresses elsewhere, or nobody.

Purpose: the one place that decides whether an address given at RCPT is taken, so that nothing has to be bounced later
(threats S3, S4).

Invariants: a Recipient leads to at least one destination; mail for domains that are not ours is taken only with
``may_relay``; a local part that carries a route (``user%host``, ``host!user``, ``"user@host"``) is never taken.

It must not know: SMTP's replies, how the directory stores anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.errors import NoSuchRecipient, QuotaExceeded, RelayDenied, Unavailable
from postroom.model.ids import AccountId
from postroom.store.api import Usage

_ROUTING: Final = frozenset("%!@")


class MailboxDisabled(NoSuchRecipient):
    """The account exists and takes no mail."""

    default_public = "Mailbox disabled"


class Target(Protocol):
    """An account that gets a message (``store.directory_entries.LocalTarget``)."""

    @property
    def account(self) -> Account:
        """Whose mail it is."""

    @property
    def detail(self) -> str:
        """The sub-address it was written to, empty for none (RFC 5233 §1)."""


class Resolved(Protocol):
    """Everyone an address stands for, each once (``store.directory_entries.Resolution``)."""

    @property
    def local(self) -> Sequence[Target]:
        """Accounts here, disabled ones among them."""

    @property
    def remote(self) -> Sequence[Address]:
        """Addresses elsewhere that an alias names."""


class Directory(Protocol):
    """What delivery needs of the directory (``store.directory.Directory``). Any method may raise Unavailable."""

    def is_local_domain(self, domain: str) -> bool:
        """Whether mail for the domain is received here, in any spelling."""

    def resolve(self, address: Address) -> Resolved:
        """Aliases, sub-addresses and the catch-all followed to the end. Raises NoSuchRecipient, LimitExceeded."""

    def owns(self, account: AccountId, address: Address) -> bool:
        """Whether the account may send as the address (threats S6)."""


@dataclass(slots=True, frozen=True)
class Recipient:
    """An accepted recipient: ``address`` as it was given, where it leads; ``apart``: its account keeps a copy of its own for
    this recipient."""

    address: Address
    accounts: tuple[Account, ...] = ()
    remote: tuple[Address, ...] = ()
    apart: bool = False


@dataclass(slots=True, frozen=True)
class RecipientPolicy:
    """``may_relay``: the sender is authenticated; ``has_route``: a smarthost is configured; ``host_of`` gives the account that
    stands for a whole domain and keeps a copy for each recipient there (SDPS), None where nobody logs in that way."""

    may_relay: bool = False
    has_route: bool = False
    host_of: Callable[[str], Account | None] | None = None


def accept_recipient(
    address: Address,
    directory: Directory,
    usage: Callable[[AccountId], Usage],
    policy: RecipientPolicy,
    size: int = 0,
) -> Recipient:
    """Decide about one recipient of a message of ``size`` octets (0 for unknown).

    Raises RelayDenied, NoSuchRecipient (MailboxDisabled), QuotaExceeded, LimitExceeded, Unavailable.
    """
    if address.domain and not directory.is_local_domain(address.domain):
        return _foreign(address, policy)
    if not _ROUTING.isdisjoint(address.local):
        raise RelayDenied
    resolved = directory.resolve(address)
    accounts = tuple(target.account for target in resolved.local if target.account.enabled)
    remote = tuple(resolved.remote)
    if not accounts and not remote:
        raise MailboxDisabled
    if remote and not policy.has_route:
        # Taking it would lose a copy, refusing it for good would blame the sender.
        raise Unavailable(private=f"{address} leads to a foreign address and there is no smarthost")
    if not remote and all(_is_full(usage(account.id), size) for account in accounts):
        raise QuotaExceeded
    # An address that leads to others, too, would reach them twice when its copy had to be tried again.
    apart = policy.host_of is not None and not remote and accounts == (policy.host_of(address.domain),)
    return Recipient(address, accounts, remote, apart)


def _foreign(address: Address, policy: RecipientPolicy) -> Recipient:
    if not policy.may_relay:
        raise RelayDenied
    if not policy.has_route:
        raise RelayDenied("Mail for other domains is not sent from here")
    return Recipient(address, (), (address,))


def _is_full(usage: Usage, size: int) -> bool:
    return usage.quota > 0 and usage.octets + max(size, 1) > usage.quota
