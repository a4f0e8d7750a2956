"""From an accepted message to durable rows: one copy for each account, one queued message for everyone elsewhere.

Invariants:
- On return everything that is reported as taken is durable.
- An account gets one copy, however many recipients lead to it; only one that stands for a whole domain gets a copy for each
  recipient that is ``apart``, for whoever reads one recipient's mail removes it.
- Nothing that was taken is lost and nothing bounces that could have been refused: when some destinations fail after others
  have succeeded, the failed ones are queued for another local attempt before success is reported (a reply cannot be
  negative any more without the sender sending twice to those who have the message).

It must not know: protocols.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from postroom.delivery.recipients import Recipient
from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.errors import PostroomError, Unavailable
from postroom.model.ids import AccountId, QueueId
from postroom.model.message import NewMessage
from postroom.store.api import Batch, Delivery, MailStore, QueuedMessage, QueuedRecipient, SpoolResult


@dataclass(slots=True)
class Parcel:
    """A message with its envelope; ``date`` in seconds since 1970, ``retry_after`` in seconds."""

    sender: Address | None
    recipients: list[Recipient]
    content: SpoolResult
    date: int
    body: str = "7BIT"
    smtputf8: bool = False
    submitter: AccountId | None = None
    retry_after: int = 300

    @property
    def sender_text(self) -> str:
        """The reverse-path without brackets, empty for the null one."""
        return str(self.sender) if self.sender is not None else ""


Outcome = PostroomError | None
"""None for taken, else why not."""

Copy = tuple[AccountId, str]
"""One copy of a message: whose, and for which recipient when there can be several, else empty."""


async def deliver(store: MailStore, parcel: Parcel) -> list[Outcome]:
    """One outcome for each recipient (LMTP). A recipient of which some destinations succeeded is taken.

    Raises Unavailable when nothing is known to be stored.
    """
    failures = await _store(store, parcel)
    outcomes: list[Outcome] = []
    later: set[Copy] = set()
    for recipient in parcel.recipients:
        copies = _copies(recipient)
        failed = [copy for copy in copies if copy in failures]
        if failed and len(failed) == len(copies) and not recipient.remote:
            outcomes.append(failures[failed[0]])
            continue
        outcomes.append(None)
        later.update(failed)
    await _queue_locally(store, parcel, later)
    return outcomes


async def deliver_as_one(store: MailStore, parcel: Parcel) -> None:
    """All recipients share one reply (SMTP): returns when the message is taken for all of them.

    Raises why nobody could take it, or Unavailable.
    """
    failures = await _store(store, parcel)
    if not failures:
        return
    reasons = list(failures.values())
    taken = any(recipient.remote for recipient in parcel.recipients) or len(failures) < len(_local(parcel))
    if not taken:
        raise next((reason for reason in reasons if isinstance(reason, Unavailable)), reasons[0])
    await _queue_locally(store, parcel, failures)


def _copies(recipient: Recipient) -> dict[Copy, Account]:
    """What a recipient leads to here."""
    which = str(recipient.address).lower() if recipient.apart else ""
    return {(account.id, which): account for account in recipient.accounts}


def _local(parcel: Parcel) -> dict[Copy, tuple[Account, Address]]:
    """Each copy once, with the first recipient that led to it."""
    found: dict[Copy, tuple[Account, Address]] = {}
    for recipient in parcel.recipients:
        for copy, account in _copies(recipient).items():
            found.setdefault(copy, (account, recipient.address))
    return found


async def _store(store: MailStore, parcel: Parcel) -> dict[Copy, PostroomError]:
    """Commit everything; copies that could not be stored, with the reason."""
    local = _local(parcel)
    content = parcel.content
    deliveries = [
        Delivery(
            account,
            NewMessage(
                content.blob,
                content.facts,
                parcel.date,
                envelope_from=parcel.sender_text,
                envelope_to=str(address),
            ),
        )
        for (account, _), (_, address) in local.items()
    ]
    remote = dict.fromkeys(str(address) for recipient in parcel.recipients for address in recipient.remote)
    queued = [_queued(parcel, list(remote), parcel.date)] if remote else []
    outcomes = await store.deliver(Batch(deliveries, queued))
    failures: dict[Copy, PostroomError] = {}
    for copy, outcome in zip(local, outcomes, strict=True):
        if isinstance(outcome, PostroomError):
            failures[copy] = outcome
        elif isinstance(outcome, Exception):
            raise outcome
    return failures


async def _queue_locally(store: MailStore, parcel: Parcel, copies: Collection[Copy]) -> None:
    """Have the queue try these copies again; an account's name is an address of its."""
    if copies:
        addresses = [
            str(address) if copy[1] else account.name
            for copy, (account, address) in _local(parcel).items()
            if copy in copies
        ]
        queued = _queued(parcel, addresses, parcel.date + parcel.retry_after)
        await store.deliver(Batch(queued=[queued]))


def _queued(parcel: Parcel, addresses: list[str], next_attempt: int) -> QueuedMessage:
    return QueuedMessage(
        QueueId(0),
        parcel.sender_text,
        parcel.content.blob,
        [QueuedRecipient(address, next_attempt=next_attempt) for address in addresses],
        parcel.date,
        parcel.body,
        parcel.smtputf8,
        parcel.submitter,
    )
