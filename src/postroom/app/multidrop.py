"""For whom the messages of a multidrop mailbox are: what the other server noted in the header, and who of them is here.

Invariants: only fields that the configuration names are believed, and only accounts here come of them: nothing is ever sent on.
The work is bounded, whatever the header holds. Implements ``collect.collector.Recipients``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from postroom.mime.header import header_fields, iter_fields
from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.errors import LimitExceeded, NoSuchRecipient
from postroom.store.directory import Directory

_ADDRESS: Final = re.compile(rb"([^\s<>,;:\"()@]{1,64})@([A-Za-z0-9.-]{1,255})")
ENVELOPE: Final = "*ENV"
"""In place of a field's name: the other server is asked (SDPS)."""
_MOST_FIELDS: Final = 50
_MOST_ADDRESSES: Final = 100


class EnvelopeFields:
    """Reads these fields, in whatever order the message has them: the last server's are at the top."""

    def __init__(self, directory: Directory, names: Sequence[str]) -> None:
        self._directory = directory
        self._names = [name.encode().lower() for name in names if name != ENVELOPE]
        self.asks_envelope = ENVELOPE in names

    def addressed(self, recipient: str) -> Sequence[Account]:
        """The accounts that an envelope's recipient stands for."""
        local, _, domain = recipient.rpartition("@")
        found = {
            account.name: account
            for account in self._here(local.encode("utf-8", "replace"), domain.encode("utf-8", "replace"))
        }
        return list(found.values())

    def named(self, header: bytes) -> Sequence[Account]:
        """The accounts that the first field names which names any."""
        if not self._names:
            return ()
        block = header_fields(header, self._names)
        for number, field in enumerate(iter_fields(block)):
            if number >= _MOST_FIELDS:
                break
            found: dict[str, Account] = {}
            addresses = _ADDRESS.finditer(block, field.value, field.end)
            for _, match in zip(range(_MOST_ADDRESSES), addresses, strict=False):
                for account in self._here(match[1], match[2]):
                    found.setdefault(account.name, account)
            if found:
                return list(found.values())
        return ()

    def account(self, name: str) -> Account | None:
        """The account of a name."""
        return self._directory.account(name)

    def _here(self, local: bytes, domain: bytes) -> list[Account]:
        try:
            address = Address(local.decode(), domain.decode().lower())
            resolution = self._directory.resolve(address)
        except (UnicodeDecodeError, ValueError, NoSuchRecipient, LimitExceeded):
            return []
        return [target.account for target in resolution.local if target.account.enabled]
