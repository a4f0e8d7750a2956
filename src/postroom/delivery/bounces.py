"""Telling a sender what became of a message (RFC 3464, RFC 5321 §6.1).

Invariants: nobody is told about a message with the null reverse-path, so no notification begets another (threats S4); a
notification goes out under the null reverse-path; it is durable, in the queue, when ``notify`` returns.

It must not know: why a delivery failed, how the queue delivers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postroom.delivery.intake import HEADER_LIMIT, header_end
from postroom.delivery.trace import RETURN_PATH, return_path_field
from postroom.mime.dsn import DeliveryReport, RecipientStatus, build_dsn
from postroom.model.ids import QueueId
from postroom.model.message import Octets
from postroom.store.api import Batch, MailStore, QueuedMessage, QueuedRecipient

_NAME: Final = "Mail Delivery System"


@dataclass(slots=True, frozen=True)
class Notice:
    """What to tell: ``token`` is fresh and random, ``now`` in seconds since 1970."""

    statuses: Sequence[RecipientStatus]
    hostname: str
    token: str
    now: int


async def notify(store: MailStore, message: QueuedMessage, octets: Octets, notice: Notice) -> bool:
    """Queue a notification for the message's sender; False when there is nobody to tell. Raises Unavailable, StorageFull."""
    if not message.sender or not notice.statuses:
        return False
    report = DeliveryReport(
        reporting_mta=notice.hostname,
        sender=(_NAME, f"MAILER-DAEMON@{notice.hostname}"),
        recipient=message.sender,
        message_id=f"{notice.token}@{notice.hostname}",
        boundary=f"=_{notice.token}",
        date=notice.now,
        recipients=notice.statuses,
        original=await read_header(octets),
        arrival=message.created,
    )
    spool = store.spool()
    try:
        waiting = spool.write(return_path_field(None) + build_dsn(report))
        if waiting is not None:
            await waiting
    except BaseException:
        spool.abort()
        raise
    content = await spool.finish()
    queued = QueuedMessage(
        QueueId(0),
        "",
        content.blob,
        [QueuedRecipient(message.sender, next_attempt=notice.now)],
        notice.now,
        "8BITMIME" if content.facts.has_8bit_header or not message.sender.isascii() else "7BIT",
        not message.sender.isascii(),
    )
    await store.deliver(Batch(queued=[queued]))
    return True


async def read_header(octets: Octets) -> bytes:
    """The header of a stored message without the Return-Path that we put in front; cut at HEADER_LIMIT."""
    got = octets.read(0, HEADER_LIMIT)
    start = got if isinstance(got, bytes) else await got
    if start.startswith(RETURN_PATH):
        start = start[start.find(b"\r\n") + 2 :]
    end = header_end(start)
    return start[:end] if end >= 0 else start
