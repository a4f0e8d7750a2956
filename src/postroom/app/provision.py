"""Makes accounts of the directory ready in the store: their row, their mailboxes, their quota.

Invariants: idempotent, and cheap when there is nothing to do; the directory is right about quotas.
"""

from __future__ import annotations

import structlog

from postroom.model.account import Account
from postroom.model.errors import PostroomError, Unavailable
from postroom.model.ids import AccountId
from postroom.store.api import MailStore
from postroom.store.directory import Directory

_log = structlog.get_logger("postroom.provision")


class Provisioner:
    """Remembers which accounts are ready, with which quota."""

    def __init__(self, directory: Directory, store: MailStore) -> None:
        self._directory = directory
        self._store = store
        self._ready: dict[AccountId, int] = {}
        self._version = -1

    async def welcome(self, account: Account) -> None:
        """Make one account ready. Raises Unavailable."""
        if self._ready.get(account.id) == account.quota:
            return
        try:
            present = self._store.usage(account.id)
        except Unavailable:
            await self._store.create_account(account.id, account.quota)
        else:
            if present.quota != account.quota:
                await self._store.set_quota(account.id, account.quota)
        self._ready[account.id] = account.quota

    async def follow(self) -> None:
        """Make every account ready, when the directory has changed since the last time; failures are tried again later."""
        version = self._directory.version
        if version == self._version:
            return
        try:
            for account in list(self._directory.accounts()):
                await self.welcome(account)
        except PostroomError as error:
            _log.warning("accounts not ready yet", reason=error.private)
            return
        self._version = version
