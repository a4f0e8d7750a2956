"""Which mailboxes are meant (RFC 5465 §6 filter-mailboxes, RFC 7377 §2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ScopeKind(Enum):
    """A mailbox specifier; value is the wire form."""

    SELECTED = "SELECTED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    SUBTREE_ONE = "SUBTREE-ONE"
    MAILBOXES = "MAILBOXES"

    @property
    def named(self) -> bool:
        """Whether names of mailboxes follow."""
        return self in (ScopeKind.SUBTREE, ScopeKind.SUBTREE_ONE, ScopeKind.MAILBOXES)


@dataclass(slots=True, frozen=True)
class Scope:
    """One specifier with the mailboxes it names, if it does."""

    kind: ScopeKind
    names: tuple[str, ...] = ()
