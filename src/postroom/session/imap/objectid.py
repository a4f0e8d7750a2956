"""OBJECTID (RFC 8474): identifiers of mailboxes and messages made of the store's own, which are never given twice.

An identifier names the account too, so that it stays unique where mailboxes of several accounts are seen.
"""

from __future__ import annotations

import re
from typing import Final

from postroom.model import search as criteria
from postroom.model.ids import AccountId, MailboxId, MessageId

_EMAIL_ID: Final = re.compile(r"M([1-9][0-9]{0,18})-([1-9][0-9]{0,18})")


def mailbox_id(account: AccountId, mailbox: MailboxId) -> str:
    """MAILBOXID: it stays through renaming."""
    return f"F{account}-{mailbox}"


def email_id_template(account: AccountId) -> bytes:
    """``EMAILID (...)`` with a place for the number of the message, which copies share."""
    return b"EMAILID (M%d-%%d)" % account


def message_named(account: AccountId, identifier: str) -> criteria.Criterion:
    """The criterion for an EMAILID; nothing for one that was never given."""
    found = _EMAIL_ID.fullmatch(identifier)
    if found is None or int(found.group(1)) != account or int(found.group(2)) >= 1 << 63:
        return criteria.Not(criteria.All())
    return criteria.IsMessage(MessageId(int(found.group(2))))
