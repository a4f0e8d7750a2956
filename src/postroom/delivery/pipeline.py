"""From an accepted message to durable rows: one copy for each account, one queued message for everyone elsewhere.

Invariants:
- On return everything that is reported as taken is durable.
- An account gets one copy, however many recipients lead to it.
- Nothing that was taken is lost and nothing bounces that could have been refused: when some destinations fail after others
  have succeeded, the failed ones are queued for another local attempt before success is reported (a reply cannot be
  negative any more without the sender sending twice to those who have the message).

It must not know: protocols.
"""

from __future__ import annotations

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


async def deliver(store: MailStore, parcel: Parcel) -> list[Outcome]:
    """One outcome for each recipient (LMTP). A recipient of which some destinations succeeded is taken.

    Raises Unavailable when nothing is known to be stored.
    """
    failures = await _store(store, parcel)
    outcomes: list[Outcome] = []
    later: dict[AccountId, Account] = {}
    for recipient in parcel.recipients:
        failed = [account for account in recipient.accounts if account.id in failures]
        if failed and len(failed) == len(recipient.accounts) and not recipient.remote:
            outcomes.append(failures[failed[0].id])
            continue
        outcomes.append(None)
        later.update((account.id, account) for account in failed)
    await _queue_locally(store, parcel, list(later.values()))
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
    await _queue_locally(store, parcel, [_local(parcel)[account][0] for account in failures])


def _local(parcel: Parcel) -> dict[AccountId, tuple[Account, Address]]:
    """Each account once, with the first recipient that led to it."""
    found: dict[AccountId, tuple[Account, Address]] = {}
    for recipient in parcel.recipients:
        for account in recipient.accounts:
            found.setdefault(account.id, (account, recipient.address))
    return found


async def _store(store: MailStore, parcel: Parcel) -> dict[AccountId, PostroomError]:
    """Commit everything; accounts that could not take it, with the reason."""
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
        for account, (_, address) in local.items()
    ]
    remote = dict.fromkeys(str(address) for recipient in parcel.recipients for address in recipient.remote)
    queued = [_queued(parcel, list(remote), parcel.date)] if remote else []
    outcomes = await store.deliver(Batch(deliveries, queued))
    failures: dict[AccountId, PostroomError] = {}
    for account, outcome in zip(local, outcomes, strict=True):
        if isinstance(outcome, PostroomError):
            failures[account] = outcome
        elif isinstance(outcome, Exception):
            raise outcome
    return failures


async def _queue_locally(store: MailStore, parcel: Parcel, accounts: list[Account]) -> None:
    """Have the queue try these accounts again; an account's name is an address of its."""
    if accounts:
        queued = _queued(parcel, [account.name for account in accounts], parcel.date + parcel.retry_after)
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
