"""GETQUOTA and GETQUOTAROOT (RFC 9208): an account's mailboxes share one quota root, with an empty name.

STORAGE is listed when the account has a limit; MAILBOX always has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroom.model.flags import SystemFlag
from postroom.model.mailbox import Mailbox
from postroom.model.search import HasFlags
from postroom.model.uidset import UidSet
from postroom.session.imap.names import canonical
from postroom.store.api import Column
from postroom.store.mailbox_names import MAX_MAILBOXES
from postroom.wire.imap.commands import GetQuota, GetQuotaRoot
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import QuotaData, QuotaRootData, Word

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession

ROOT: Final = ""
_UNIT: Final = 1024


async def get_quota(session: ImapSession, request: Request) -> None:
    """GETQUOTA."""
    command = request.command
    assert isinstance(command, GetQuota)
    if command.root != ROOT:
        await session.refuse(request, "No such quota root", Word.NONEXISTENT)
        return
    session.send(_quota(session))
    await session.finish(request, "GETQUOTA completed")


async def get_quota_root(session: ImapSession, request: Request) -> None:
    """GETQUOTAROOT, of mailboxes that do not exist, too (RFC 9208 §4.1.2)."""
    command = request.command
    assert isinstance(command, GetQuotaRoot)
    session.send(QuotaRootData(canonical(command.mailbox), (ROOT,)))
    session.send(_quota(session))
    await session.finish(request, "GETQUOTAROOT completed")


def _quota(session: ImapSession) -> QuotaData:
    usage = session.store.usage(session.account_id)
    resources = [("MAILBOX", len(session.store.mailboxes(session.account_id)), MAX_MAILBOXES)]
    if usage.quota:
        resources.insert(0, ("STORAGE", -(-usage.octets // _UNIT), usage.quota // _UNIT))
    return QuotaData(ROOT, tuple(resources))


async def deleted_storage(session: ImapSession, mailbox: Mailbox) -> int:
    """Octets that EXPUNGE would free (RFC 9208 §4.1.4)."""
    if not mailbox.deleted:
        return 0
    account, store = session.account_id, session.store
    uids = UidSet.of(await store.search(account, mailbox.id, HasFlags(SystemFlag.DELETED.value)))
    octets = 0
    for batch in store.fetch(account, mailbox.id, uids, (Column.SIZE,)):
        octets += sum(row[0] for row in batch)
        await session.relieve()
    return octets
