"""The change log: what happened under which modseq.

Invariants: append-only; (modseq, n) is unique and rises inside an account; one log serves CONDSTORE, IDLE, POP3 and
whatever follows. Below the account's ``floor`` the log has been cut and readers compare states instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from postroom.model.ids import AccountId, Modseq, Uid
from postroom.model.uidset import UidSet


class ChangeKind(IntEnum):
    """What a change row says."""

    ADDED = 1
    FLAGS = 2
    GONE = 3
    MAILBOX = 4
    """A mailbox was made, renamed, removed, subscribed or given another attribute."""


@dataclass(slots=True)
class FlagState:
    """The flags of one entry as they are now."""

    uid: Uid
    flags: int
    keywords: tuple[str, ...]
    modseq: Modseq


@dataclass(slots=True)
class MailboxChanges:
    """Everything that happened to one mailbox since a modseq, folded: a reader that applies it has the state at ``modseq``.

    ``added``: UIDs new since then and still there. ``gone``: UIDs that were there then and no longer are; ``passed``: those
    that came and went in between, which concern a reader who has looked meanwhile. ``flags``: current flags of entries
    changed since then (added ones included).
    ``complete`` is False when the log no longer reaches back: the reader must load the mailbox anew.
    ``removed`` is True when the mailbox itself has gone.
    """

    modseq: Modseq
    added: UidSet = field(default_factory=UidSet)
    gone: UidSet = field(default_factory=UidSet)
    passed: UidSet = field(default_factory=UidSet)
    flags: list[FlagState] = field(default_factory=list)
    complete: bool = True
    removed: bool = False


@dataclass(slots=True, frozen=True)
class Announcement:
    """What Watch carries after a commit: readers look for themselves."""

    account: AccountId
    modseq: Modseq
