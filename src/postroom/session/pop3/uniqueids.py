"""Unique ids that messages brought along from another server (RFC 1939 §7 UIDL).

Invariants: an id has 1 to 70 printable characters and belongs to one message of a maildrop; it never looks like one that is made
here. Messages without one keep the id that is made here.

It must not know: where they are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from postroom.model.errors import InvalidName
from postroom.model.ids import AccountId, UidValidity

_UNIQUE_ID: Final = re.compile(r"[\x21-\x7e]{1,70}")


class UniqueIds(Protocol):
    """What was imported."""

    def load(self, account: AccountId, uid_validity: UidValidity) -> Mapping[int, str]:
        """By UID, of the INBOX with this UIDVALIDITY; empty for nothing. Cheap where there is nothing. Raises Unavailable."""


class NoUniqueIds:
    """Nothing was."""

    def load(self, account: AccountId, uid_validity: UidValidity) -> Mapping[int, str]:  # noqa: ARG002 - the Protocol's signature
        """Nothing."""
        return {}


def check_unique_id(text: str, uid_validity: UidValidity) -> str:
    """The id. Raises InvalidName for what is none, or looks like one made here."""
    if _UNIQUE_ID.fullmatch(text) is None:
        raise InvalidName("A unique id has 1 to 70 printable characters without spaces")
    made = text.partition(".")
    if made[0] == str(uid_validity) and made[2].isdigit():
        raise InvalidName("The unique id looks like one of postroom's own")
    return text
