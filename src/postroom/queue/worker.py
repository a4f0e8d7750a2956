"""Who empties the queue: takes due messages, tries them, writes down what came of it.

Invariants:
- A recipient is removed from the queue only after the next server's 2xx (or a durable local delivery) has been seen; a
  crash before that is written down means another attempt, never a loss.
- A sender is told before the failure is written down: a crash between the two tells twice instead of never.
- One message is tried by one lane at a time; a bug while trying one message defers it and does not stop the lane.

It must not know: asyncio, sockets; whoever runs a lane gives it a Pacer and a Dialer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from postroom.delivery.bounces import Notice, notify
from postroom.delivery.pipeline import Parcel, deliver
from postroom.delivery.recipients import Directory, RecipientPolicy, accept_recipient
from postroom.mime.dsn import RecipientStatus
from postroom.model.account import Account
from postroom.model.errors import LimitExceeded, PostroomError, QuotaExceeded, Unavailable
from postroom.model.ids import QueueId
from postroom.queue.routes import Here, Routes, Smarthost, parse_recipient
from postroom.queue.scheduler import Result, Schedule, Settled, Verdict, due_recipients, settle
from postroom.queue.sending import Dialer, Sending
from postroom.store.api import MailStore, QueuedMessage
from postroom.wire.errors import ProtocolError

_PIECE: Final = 1 << 16
_LONGEST_WAIT: Final = 300.0
"""Seconds after which the queue is looked at even when nothing woke the lane."""
_STORE_TROUBLE_WAIT: Final = 30.0


class Pacer(Protocol):
    """How a lane waits."""

    async def wait(self, seconds: float) -> None:
        """Return after this time, or earlier when there may be something to do."""


@dataclass(slots=True, frozen=True)
class AttemptRecord:
    """For the log and the metrics: one recipient of one attempt."""

    message: QueueId
    sender: str
    recipient: str
    attempt: int
    result: Result
    final: bool
    """Nothing more will be tried for this recipient."""


@dataclass(slots=True, frozen=True, kw_only=True)
class QueueService:
    """What the lanes share. ``clock`` gives seconds since 1970, ``token`` fresh random text for notifications; ``record``
    and ``bug`` (told of exceptions that should not be) must not raise."""

    store: MailStore
    directory: Directory
    routes: Routes
    dialer: Dialer
    hostname: str
    clock: Callable[[], float]
    token: Callable[[], str]
    schedule: Schedule = Schedule()
    record: Callable[[AttemptRecord], None] | None = None
    bug: Callable[[Exception], None] | None = None
    host_of: Callable[[str], Account | None] | None = None
    """As in ``delivery.recipients.RecipientPolicy``."""


class Queue:
    """The queue of one process; run ``lane`` as often as there may be connections at once."""

    def __init__(self, service: QueueService) -> None:
        self._service = service
        self._busy: set[QueueId] = set()
        self._stopping = False

    def stop(self) -> None:
        """Lanes end after what they are doing; wake their pacers too."""
        self._stopping = True

    async def lane(self, pacer: Pacer) -> None:
        """Work until ``stop``. Cancelled, it drops its connection: what was under way is tried again."""
        line = _Line()
        try:
            while not self._stopping:
                message = self._take()
                if message is None:
                    await line.close()
                    await pacer.wait(self._idle_time())
                    continue
                try:
                    await self._attempt(message, line)
                except PostroomError:
                    # The store cannot write down what came of it: nothing is lost, it will be tried again.
                    await pacer.wait(_STORE_TROUBLE_WAIT)
                finally:
                    self._busy.discard(message.id)
        except BaseException:
            await line.drop()
            raise
        await line.close()

    async def run_due(self) -> int:
        """Try everything that is due now, once; how many messages were tried."""
        tried = 0
        line = _Line()
        try:
            while (message := self._take()) is not None:
                tried += 1
                try:
                    await self._attempt(message, line)
                finally:
                    self._busy.discard(message.id)
        finally:
            await line.close()
        return tried

    # --- one message

    def _take(self) -> QueuedMessage | None:
        now = int(self._service.clock())
        for message in self._service.store.due(now, len(self._busy) + 1):
            if message.id not in self._busy:
                self._busy.add(message.id)
                return message
        return None

    def _idle_time(self) -> float:
        due = self._service.store.next_due()
        if due is None:
            return _LONGEST_WAIT
        return min(max(due - self._service.clock(), 1.0), _LONGEST_WAIT)

    async def _attempt(self, message: QueuedMessage, line: _Line) -> None:
        """Try all due recipients. Raises Unavailable when the store fails."""
        now = int(self._service.clock())
        addresses = [recipient.address for recipient in due_recipients(message, now)]
        results: dict[str, Result] = {}
        try:
            await self._try(message, addresses, results, line)
        except Exception as error:  # noqa: BLE001 - one bad message must not stop the queue
            if self._service.bug is not None:
                self._service.bug(error)
            for address in addresses:
                results.setdefault(address, Result(Verdict.DEFERRED, "internal error", "4.3.0"))
        await self._write_down(message, results)

    async def _try(
        self, message: QueuedMessage, addresses: Sequence[str], results: dict[str, Result], line: _Line
    ) -> None:
        away: dict[Smarthost, list[str]] = {}
        for address in addresses:
            match self._service.routes.route(address):
                case None:
                    results[address] = Result(Verdict.DEFERRED, "no smarthost is configured", "4.4.4")
                case Here():
                    results[address] = await self._deliver_here(message, address)
                case smarthost:
                    away.setdefault(smarthost, []).append(address)
        for smarthost, recipients in away.items():
            if not line.leads_to(smarthost):
                await line.close()
                line.sending = await self._connect(smarthost, recipients, results)
            if line.sending is not None:
                octets = self._service.store.queue_octets(message)
                results.update(await line.sending.deliver(message, octets, recipients))

    async def _connect(
        self, smarthost: Smarthost, recipients: Sequence[str], results: dict[str, Result]
    ) -> Sending | None:
        try:
            connection = await self._service.dialer.dial(smarthost)
            sending = Sending(connection, smarthost, self._service.hostname, self._service.clock)
            try:
                await sending.open()
            except BaseException:
                await connection.close()
                raise
        except (Unavailable, ProtocolError) as error:
            text = error.private if isinstance(error, Unavailable) else str(error)
            results.update(dict.fromkeys(recipients, Result(Verdict.DEFERRED, text, "4.4.1", smarthost.host)))
            return None
        return sending

    async def _deliver_here(self, message: QueuedMessage, address: str) -> Result:
        """Another attempt for a mailbox of ours."""
        service = self._service
        parsed = parse_recipient(address)
        if parsed is None:
            return Result(Verdict.FAILED, "not an address", "5.1.3")
        octets = service.store.queue_octets(message)
        try:
            policy = RecipientPolicy(has_route=service.routes.smarthost is not None, host_of=service.host_of)
            recipient = accept_recipient(parsed, service.directory, service.store.usage, policy, octets.size)
            spool = service.store.spool(octets.size)
            try:
                offset = 0
                while offset < octets.size:
                    got = octets.read(offset, _PIECE)
                    piece = got if isinstance(got, bytes) else await got
                    if not piece:
                        raise Unavailable(private="stored octets ended early")
                    waiting = spool.write(piece)
                    if waiting is not None:
                        await waiting
                    offset += len(piece)
            except BaseException:
                spool.abort()
                raise
            sender = parse_recipient(message.sender) if message.sender else None
            parcel = Parcel(sender, [recipient], await spool.finish(), int(service.clock()))
            outcome = (await deliver(service.store, parcel))[0]
        except PostroomError as error:
            outcome = error
        if outcome is None:
            return Result(Verdict.DELIVERED, "delivered", "2.1.5")
        if isinstance(outcome, Unavailable | QuotaExceeded | LimitExceeded):
            status = "4.2.2" if isinstance(outcome, QuotaExceeded) else "4.3.0"
            return Result(Verdict.DEFERRED, outcome.public, status)
        return Result(Verdict.FAILED, outcome.public, "5.1.1")

    async def _write_down(self, message: QueuedMessage, results: dict[str, Result]) -> None:
        service = self._service
        now = int(service.clock())
        settlement = settle(message, results, service.schedule, now)
        statuses = [self._status(each, "failed", message, now) for each in settlement.failed]
        statuses += [self._status(each, "delayed", message, now) for each in settlement.delayed]
        if statuses:
            notice = Notice(statuses, service.hostname, service.token(), now)
            await notify(service.store, message, service.store.queue_octets(message), notice)
        await service.store.update_queued(message)
        if service.record is not None:
            for recipient in message.recipients:
                result = results.get(recipient.address)
                if result is not None:
                    final = recipient.state != "pending"
                    service.record(
                        AttemptRecord(
                            message.id, message.sender, recipient.address, recipient.attempts, result, final
                        )
                    )

    def _status(self, settled: Settled, action: str, message: QueuedMessage, now: int) -> RecipientStatus:
        result = settled.result
        failed = action == "failed"
        status = result.status
        if failed and not status.startswith("5"):
            status = "4.4.7"  # RFC 3463 §3.5: delivery time expired
        return RecipientStatus(
            settled.recipient.address,
            "failed" if failed else "delayed",
            status or "4.0.0",
            remote_mta=result.remote or None,
            diagnostic=result.text,
            last_attempt=now,
            will_retry_until=None if failed else message.created + self._service.schedule.lifetime,
        )


class _Line:
    """The connection of a lane, kept from one message to the next."""

    def __init__(self) -> None:
        self.sending: Sending | None = None

    def leads_to(self, smarthost: Smarthost) -> bool:
        """Whether it can be used for this server."""
        return self.sending is not None and self.sending.usable and self.sending.smarthost == smarthost

    async def close(self) -> None:
        """Take leave."""
        sending, self.sending = self.sending, None
        if sending is not None:
            await sending.close()

    async def drop(self) -> None:
        """Without a word."""
        sending, self.sending = self.sending, None
        if sending is not None:
            await sending.drop()
