"""Every write of MailStore as one value that can be done here or sent to the process that owns the shard.

Purpose: a shard has one writing process. A write is an ``Operation`` for a ``ShardWriter``: the engine's own in the
owner, a link to the owner elsewhere. Both give the same results and raise the same errors.

Invariants:
- One operation is one transaction in one shard: all of it is durable when ``submit`` returns, or none of it is stored.
- An operation, its result and its error survive the journey as octets (msgpack) unchanged: errors of the domain travel as
  class name, public text and private reason. Anything else raised is a bug and is not sent.
- Octets of one message are in an operation once, however many recipients it has.

It must not know: engines, SQL, sockets, asyncio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Any, Final, Protocol

import msgspec

from postroom.mime.facts import Facts
from postroom.model import errors
from postroom.model.errors import PostroomError, Unavailable
from postroom.model.flags import FlagChange
from postroom.model.ids import AccountId, MailboxId, Modseq, Uid
from postroom.model.mailbox import Mailbox, SpecialUse
from postroom.model.message import BlobRef, NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import Appended, Copied, Delivery, Expunged, FlagsStored, Lease, QueuedMessage


class _Operation(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of the tagged union; the tag is the class name."""


class CreateAccount(_Operation, frozen=True, tag=True, array_like=True):
    """Result None. Idempotent: an account that exists keeps everything, its quota too."""

    account: AccountId
    quota: int


class DeleteAccount(_Operation, frozen=True, tag=True, array_like=True):
    """Result bool: whether there is more to remove (call again). The first call already hides the account."""

    account: AccountId


class SetQuota(_Operation, frozen=True, tag=True, array_like=True):
    """Result None."""

    account: AccountId
    quota: int


class CreateMailbox(_Operation, frozen=True, tag=True, array_like=True):
    """Result Mailbox."""

    account: AccountId
    name: str
    special_use: SpecialUse | None


class DeleteMailbox(_Operation, frozen=True, tag=True, array_like=True):
    """Result None."""

    account: AccountId
    name: str


class RenameMailbox(_Operation, frozen=True, tag=True, array_like=True):
    """Result None."""

    account: AccountId
    name: str
    to: str


class Subscribe(_Operation, frozen=True, tag=True, array_like=True):
    """Result None."""

    account: AccountId
    name: str
    subscribed: bool


class Content(msgspec.Struct, frozen=True, array_like=True):
    """One message's octets and what is known of them."""

    blob: BlobRef
    facts: Facts


class Placement(msgspec.Struct, frozen=True, array_like=True):
    """One new entry: which content, for whom, where. ``content`` counts in the operation's ``contents``."""

    account: AccountId
    mailbox: str
    content: int
    internal_date: int
    zone: int
    flags: int
    keywords: tuple[str, ...]
    envelope_from: str | None
    envelope_to: str | None


class Deliver(_Operation, frozen=True, tag=True, array_like=True):
    """The part of a Batch that belongs to one shard. Result list[Exception | Appended], one per placement."""

    contents: tuple[Content, ...]
    placements: tuple[Placement, ...]
    queued: tuple[QueuedMessage, ...] = ()


class Append(_Operation, frozen=True, tag=True, array_like=True):
    """Result Appended."""

    account: AccountId
    mailbox: MailboxId
    messages: tuple[NewMessage, ...]
    claim_recent: bool = False


class StoreFlags(_Operation, frozen=True, tag=True, array_like=True):
    """Result FlagsStored."""

    account: AccountId
    mailbox: MailboxId
    uids: UidSet
    change: FlagChange
    flags: int
    keywords: tuple[str, ...]
    unchanged_since: Modseq | None
    states: bool = True


class Copy(_Operation, frozen=True, tag=True, array_like=True):
    """Result Copied."""

    account: AccountId
    source: MailboxId
    uids: UidSet
    target: MailboxId


class Move(_Operation, frozen=True, tag=True, array_like=True):
    """Result Copied."""

    account: AccountId
    source: MailboxId
    uids: UidSet
    target: MailboxId


class Expunge(_Operation, frozen=True, tag=True, array_like=True):
    """Result Expunged."""

    account: AccountId
    mailbox: MailboxId
    uids: UidSet | None
    only_deleted: bool


class ClaimRecent(_Operation, frozen=True, tag=True, array_like=True):
    """Result (recent_from, uid_next)."""

    account: AccountId
    mailbox: MailboxId


class UpdateQueued(_Operation, frozen=True, tag=True, array_like=True):
    """Result None."""

    message: QueuedMessage


class CutChanges(_Operation, frozen=True, tag=True, array_like=True):
    """Result None. Forget the account's changes up to and including ``floor``; readers from before compare states."""

    account: AccountId
    floor: Modseq


Operation = (
    CreateAccount
    | DeleteAccount
    | SetQuota
    | CreateMailbox
    | DeleteMailbox
    | RenameMailbox
    | Subscribe
    | Deliver
    | Append
    | StoreFlags
    | Copy
    | Move
    | Expunge
    | ClaimRecent
    | UpdateQueued
    | CutChanges
)


class ShardWriter(Protocol):
    """Does the writes of one shard: the owner's engine, or a link to the owner."""

    @property
    def failed(self) -> str | None:
        """Why the shard takes no more writes, None while it does."""

    def submit(self, operation: Operation) -> Awaitable[Any]:
        """Do it; returns the result named at the operation once it is durable. Raises its error, or Unavailable."""

    async def lock_maildrop(self, account: AccountId) -> Lease:
        """RFC 1939 §4. Raises InUse, Unavailable."""

    async def close(self) -> None:
        """Finish what waits and release everything."""


def deliver_operation(deliveries: list[Delivery], queued: tuple[QueuedMessage, ...] = ()) -> Deliver:
    """The operation for deliveries of one shard; messages that share a blob and facts share their content."""
    contents: list[Content] = []
    numbers: dict[tuple[int, int], int] = {}
    placements: list[Placement] = []
    for delivery in deliveries:
        message = delivery.message
        key = (id(message.blob), id(message.facts))
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(contents)
            contents.append(Content(message.blob, message.facts))
        placements.append(
            Placement(
                delivery.account, delivery.mailbox, number, message.internal_date, message.zone,
                message.flags, message.keywords, message.envelope_from, message.envelope_to,
            )
        )  # fmt: skip
    return Deliver(tuple(contents), tuple(placements), queued)


# --- octets


class _Failure(msgspec.Struct, array_like=True):
    kind: str
    public: str
    private: str


class _Outcome(msgspec.Struct, array_like=True):
    """One delivery's: either of them."""

    appended: Appended | None
    failure: _Failure | None


class _Reply(msgspec.Struct, array_like=True):
    failure: _Failure | None
    value: msgspec.Raw


_RESULTS: Final[dict[type[Any], Any]] = {
    DeleteAccount: bool,
    CreateMailbox: Mailbox,
    Deliver: list[_Outcome],
    Append: Appended,
    StoreFlags: FlagsStored,
    Copy: Copied,
    Move: Copied,
    Expunge: Expunged,
    ClaimRecent: tuple[Uid, Uid],
}
"""What to decode a result as, by the operation's type; the others have none."""


def _error_classes() -> Iterator[type[PostroomError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, PostroomError):
            yield value


_ERRORS: Final[dict[str, type[PostroomError]]] = {kind.__name__: kind for kind in _error_classes()}


def _to_plain(value: Any) -> Any:
    if isinstance(value, UidSet):
        return value.ranges
    raise NotImplementedError(f"{type(value).__name__} does not travel")


def _from_plain(kind: type[Any], value: Any) -> Any:
    if kind is UidSet:
        return UidSet((first, last) for first, last in value)
    raise NotImplementedError(f"{kind.__name__} does not travel")


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_to_plain)
_operations: Final = msgspec.msgpack.Decoder(Operation, dec_hook=_from_plain)
_replies: Final = msgspec.msgpack.Decoder(_Reply)
_results: Final = {
    operation: msgspec.msgpack.Decoder(kind, dec_hook=_from_plain) for operation, kind in _RESULTS.items()
}


def encode_operation(operation: Operation) -> bytes:
    """Octets that ``decode_operation`` reads."""
    return _encoder.encode(operation)


def decode_operation(octets: bytes) -> Operation:
    """The operation out of octets. Raises msgspec.DecodeError for octets of another version: a bug or a mixed installation."""
    operation: Operation = _operations.decode(octets)
    return operation


def encode_result(operation: Operation | None, result: Any) -> bytes:
    """Octets for an operation's result, or for the PostroomError it raised; None stands for a maildrop lock."""
    if isinstance(result, PostroomError):
        return _encoder.encode(_Reply(_pack_error(result), msgspec.Raw(b"\xc0")))
    value: Any = result
    if isinstance(operation, Deliver):
        value = [_pack_outcome(outcome) for outcome in result]
    return _encoder.encode(_Reply(None, msgspec.Raw(_encoder.encode(value))))


def decode_result(operation: Operation | None, octets: bytes) -> Any:
    """What ``encode_result`` was given: the result, or an error to raise. Raises msgspec.DecodeError."""
    reply = _replies.decode(octets)
    if reply.failure is not None:
        return _unpack_error(reply.failure)
    decoder = _results.get(type(operation))
    if decoder is None:
        return None
    value = decoder.decode(reply.value)
    if isinstance(operation, Deliver):
        return [_unpack_outcome(outcome) for outcome in value]
    return value


def _pack_error(error: PostroomError) -> _Failure:
    # The nearest class of the model stands for subclasses that only one process knows.
    kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in _ERRORS)
    return _Failure(kind, error.public, error.private)


def _unpack_error(failure: _Failure) -> PostroomError:
    kind = _ERRORS.get(failure.kind, Unavailable)
    return kind(failure.public, private=failure.private)


def _pack_outcome(outcome: Exception | Appended) -> _Outcome:
    if isinstance(outcome, Appended):
        return _Outcome(outcome, None)
    if isinstance(outcome, PostroomError):
        return _Outcome(None, _pack_error(outcome))
    raise outcome


def _unpack_outcome(outcome: _Outcome) -> Exception | Appended:
    if outcome.appended is not None:
        return outcome.appended
    if outcome.failure is None:
        raise msgspec.DecodeError("an outcome without anything")
    return _unpack_error(outcome.failure)
