"""When a queued message is tried again, when its sender is told, when it is given up (RFC 5321 §4.5.4).

Purpose: pure functions of a message, results and ``now``; nothing here waits or looks at a clock.

Invariants: a pending recipient's next attempt is later than the last one; waits do not shrink but for jitter; nothing is
pending beyond the lifetime; jitter follows from message and attempt, so a run can be repeated exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from postroom.model.ids import QueueId
from postroom.store.api import QueuedMessage, QueuedRecipient

PENDING: Final = "pending"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"


class Verdict(Enum):
    """What an attempt came to for one recipient."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(slots=True, frozen=True)
class Result:
    """The outcome for one recipient; ``text`` is the reply or our own reason in one line, ``status`` an enhanced code
    (RFC 3463), ``remote`` the host that said so."""

    verdict: Verdict
    text: str
    status: str = ""
    remote: str = ""


@dataclass(slots=True, frozen=True)
class Schedule:
    """Times in seconds; ``waits`` rise, the last one repeats. ``jitter`` is the share by which a wait may be longer."""

    waits: tuple[int, ...] = (300, 900, 1800, 3600, 7200, 14_400)
    warn_after: int = 4 * 3600
    lifetime: int = 5 * 86_400
    jitter: float = 0.1


@dataclass(slots=True, frozen=True)
class Settled:
    """A recipient about whom the sender has to be told, with the result that settled it."""

    recipient: QueuedRecipient
    result: Result


@dataclass(slots=True)
class Settlement:
    """What follows from an attempt: who has failed for good, and who is late enough for a warning."""

    failed: list[Settled] = field(default_factory=list)
    delayed: list[Settled] = field(default_factory=list)


def wait_after(schedule: Schedule, message: QueueId, attempts: int) -> int:
    """Seconds between attempt number ``attempts`` (from 1) and the next."""
    wait = schedule.waits[min(attempts, len(schedule.waits)) - 1]
    digest = hashlib.blake2b(b"%d.%d" % (message, attempts), digest_size=4).digest()
    share = int.from_bytes(digest, "big") / 0xFFFFFFFF
    return max(1, wait + int(wait * schedule.jitter * share))


def settle(message: QueuedMessage, results: Mapping[str, Result], schedule: Schedule, now: int) -> Settlement:
    """Write an attempt's results into the message's recipients; pending ones that are not in ``results`` were not tried.

    The message is changed in place; whoever calls makes it durable (after telling the sender, so that a crash between the
    two tells twice instead of never).
    """
    settlement = Settlement()
    expires = message.created + schedule.lifetime
    for recipient in message.recipients:
        result = results.get(recipient.address)
        if recipient.state != PENDING or result is None:
            continue
        recipient.attempts += 1
        recipient.last_reply = result.text
        if result.verdict is Verdict.DELIVERED:
            recipient.state = DELIVERED
        elif result.verdict is Verdict.FAILED or now >= expires:
            recipient.state = FAILED
            settlement.failed.append(Settled(recipient, result))
        else:
            wait = wait_after(schedule, message.id, recipient.attempts)
            # The last attempt is made when the time is up, not given up early.
            recipient.next_attempt = min(now + wait, max(expires, now + 1))
            if not message.warned and now >= message.created + schedule.warn_after:
                settlement.delayed.append(Settled(recipient, result))
    if settlement.delayed:
        message.warned = True
    return settlement


def due_recipients(message: QueuedMessage, now: int) -> list[QueuedRecipient]:
    """Those to try now."""
    return [each for each in message.recipients if each.state == PENDING and each.next_attempt <= now]
