"""Which function does which operation.

Invariant: every member of ``Operation`` is here (a test compares).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from postroom.store import operations as op
from postroom.store.sql import adding, entries, mailboxes, queue
from postroom.store.sql.rows import Work, cut_changes


def _cut_changes(work: Work, operation: op.CutChanges) -> None:
    cut_changes(work, operation.account, operation.floor)


OPERATIONS: Final[dict[type[Any], Callable[[Work, Any], Any]]] = {
    op.CreateAccount: mailboxes.create_account,
    op.DeleteAccount: mailboxes.delete_account,
    op.SetQuota: mailboxes.set_quota,
    op.CreateMailbox: mailboxes.create_mailbox,
    op.DeleteMailbox: mailboxes.delete_mailbox,
    op.RenameMailbox: mailboxes.rename_mailbox,
    op.Subscribe: mailboxes.subscribe,
    op.Deliver: adding.deliver,
    op.Append: adding.append,
    op.StoreFlags: entries.store_flags,
    op.Copy: entries.copy,
    op.Move: entries.move,
    op.Expunge: entries.expunge,
    op.ClaimRecent: entries.claim_recent,
    op.UpdateQueued: queue.update_queued,
    op.CutChanges: _cut_changes,
}
"""By the operation's type; each gives the result named there or raises a PostroomError."""
