"""Accounts, and how a login or an address leads to one.

Invariants: ``name`` is the login, ``local@domain`` in lower case; an account lives in exactly one shard; ids are never
used again.
"""

from __future__ import annotations

from dataclasses import dataclass

from postroom.model.ids import AccountId, ShardId


@dataclass(slots=True, frozen=True)
class Account:
    """One person's (or role's) mail. ``quota`` is in octets, 0 for none."""

    id: AccountId
    name: str
    shard: ShardId
    quota: int = 0
    enabled: bool = True
