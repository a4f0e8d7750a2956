"""The identifiers of the store, as distinct types.

Invariants: all are positive integers. Message, mailbox and UID numbers have a meaning only together with their
account: no key, join or sequence crosses accounts.
"""

from __future__ import annotations

from typing import NewType

AccountId = NewType("AccountId", int)
MailboxId = NewType("MailboxId", int)
MessageId = NewType("MessageId", int)
QueueId = NewType("QueueId", int)

Uid = NewType("Uid", int)
"""RFC 3501 §2.3.1.1: 1 to 2**32 - 1, strictly rising inside a mailbox."""

UidValidity = NewType("UidValidity", int)
"""RFC 3501 §2.3.1.1: 1 to 2**32 - 1."""

Modseq = NewType("Modseq", int)
"""RFC 7162 §3.1: 1 to 2**63 - 1, per account; every transaction takes the next one."""

ShardId = NewType("ShardId", int)

MAX_UID = 0xFFFFFFFF
MAX_MODSEQ = (1 << 63) - 1
