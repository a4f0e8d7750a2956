"""The queue of outgoing messages; inside one transaction.

Invariants: a queued message without pending recipients does not exist; its content counts one reference.

It must not know: scheduling, threads, commits.
"""

from __future__ import annotations

from typing import Final

from postroom.store.api import QueuedMessage, QueuedRecipient
from postroom.store.operations import UpdateQueued
from postroom.store.sql.messages import release_contents
from postroom.store.sql.rows import Work

PENDING: Final = "pending"
_INSERT_RECIPIENT: Final = "INSERT INTO queue_recipient VALUES (?, ?, ?, ?, ?, ?, ?)"


def insert_queued(work: Work, message: QueuedMessage, content: int) -> None:
    """Write a message and its recipients; id 0 asks for the next id."""
    work.execute(
        "INSERT INTO queue_message VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.id or None,
            content,
            message.sender,
            message.created,
            message.body,
            message.smtputf8,
            message.submitter,
            message.warned,
        ),
    )
    _insert_recipients(work, work.last_insert_rowid(), message.recipients)


def _insert_recipients(work: Work, message: int, recipients: list[QueuedRecipient]) -> None:
    work.executemany(
        _INSERT_RECIPIENT,
        [
            (message, n, one.address, one.state, one.attempts, one.next_attempt, one.last_reply)
            for n, one in enumerate(recipients)
        ],
    )


def update_queued(work: Work, operation: UpdateQueued) -> None:
    """Write back the recipients and the warning; without a pending recipient the message goes. A message that is not
    there any more is left alone."""
    message = operation.message
    there = work.row("SELECT content FROM queue_message WHERE id = ?", (message.id,))
    if there is None:
        return
    work.execute("DELETE FROM queue_recipient WHERE message = ?", (message.id,))
    if any(recipient.state == PENDING for recipient in message.recipients):
        _insert_recipients(work, message.id, message.recipients)
        work.execute("UPDATE queue_message SET warned = ? WHERE id = ?", (message.warned, message.id))
    else:
        work.execute("DELETE FROM queue_message WHERE id = ?", (message.id,))
        release_contents(work, (there[0],))
