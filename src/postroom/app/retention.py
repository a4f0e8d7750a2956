"""EXPIRE: messages that have been in INBOX for the days their account's terms name are removed (RFC 2449 §6.7).

Purpose: ``Retention.expire`` is one round over all accounts with a limited stay; a round now and then is enough, for what it
needs to know is kept in a ledger.

Invariants:
- Age counts from when a round first saw the message in INBOX, never from dates in the message or given by clients: a message
  that IMAP has put there with an old date, or moved there, stays as long as any other. So nothing goes early; it may go late,
  by the time between two rounds.
- The ledger says "at this time every UID below that one was there". It is durable before it counts, and a ledger that is lost
  makes messages stay longer, not shorter. Another UIDVALIDITY begins anew.
- An INBOX that a POP3 session has open is left to the next round.

It must not know: event loops beyond awaiting, POP3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from postroom.model.account import Account
from postroom.model.errors import InUse, NoSuchMailbox, PostroomError, Unavailable
from postroom.model.ids import AccountId
from postroom.model.mailbox import INBOX, Mailbox
from postroom.model.uidset import UidSet
from postroom.session.pop3.policy import Policy
from postroom.store.api import MailStore

_log = structlog.get_logger("postroom.retention")

DAY: Final = 86_400
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS seen (
    account INTEGER NOT NULL, uid_validity INTEGER NOT NULL, time INTEGER NOT NULL, uid_next INTEGER NOT NULL,
    PRIMARY KEY (account, uid_validity, time)
) WITHOUT ROWID
"""


class Ledger:
    """What was in INBOX when."""

    def __init__(self, path: Path) -> None:
        """Raises Unavailable."""
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise Unavailable(private=f"{path}: {error}") from error

    def note(self, account: AccountId, inbox: Mailbox, now: int) -> None:
        """Every message of ``inbox`` is there now; said again only when there are newer ones. Raises Unavailable."""
        self._run("DELETE FROM seen WHERE account = ? AND uid_validity <> ?", account, inbox.uid_validity)
        rows = self._run(
            "SELECT max(uid_next) FROM seen WHERE account = ? AND uid_validity = ?",
            account,
            inbox.uid_validity,
        )
        if inbox.uid_next > (rows[0][0] or 1):
            self._run(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)",
                account,
                inbox.uid_validity,
                now,
                inbox.uid_next,
            )

    def below(self, account: AccountId, inbox: Mailbox, until: int) -> int:
        """UIDs below this one were there at ``until`` already; 1 for none. Raises Unavailable."""
        rows = self._run(
            "SELECT max(uid_next) FROM seen WHERE account = ? AND uid_validity = ? AND time <= ?",
            account,
            inbox.uid_validity,
            until,
        )
        return int(rows[0][0] or 1)

    def forget(self, account: AccountId, inbox: Mailbox, below: int) -> None:
        """What is said of messages that have gone; the last of it stays, so that it is not said again."""
        self._run(
            "DELETE FROM seen WHERE account = ? AND uid_validity = ? AND uid_next < ?",
            account,
            inbox.uid_validity,
            below,
        )

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, statement: str, *values: int) -> list[tuple[int | None]]:
        try:
            with closing(self._connection.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise Unavailable(private=f"retention ledger: {error}") from error


class Retention:
    """Carries out a policy on a store."""

    def __init__(self, store: MailStore, ledger: Ledger, policy: Policy) -> None:
        self._store = store
        self._ledger = ledger
        self._policy = policy

    async def expire(self, accounts: Iterable[Account], now: int) -> int:
        """One round at ``now`` (seconds since 1970); returns how many messages went. One account's failure is logged and does
        not keep the others waiting."""
        removed = 0
        for account in accounts:
            days = self._policy.of(account.name).expire
            if not days:
                continue  # for ever, or until retrieved: QUIT sees to that
            try:
                removed += await self._expire(account, now - days * DAY, now)
            except InUse:
                continue
            except PostroomError as error:
                _log.warning("messages could not be expired", account=account.name, reason=error.private)
        return removed

    async def _expire(self, account: Account, until: int, now: int) -> int:
        try:
            inbox = self._store.mailbox(account.id, INBOX)
        except NoSuchMailbox:
            return 0
        self._ledger.note(account.id, inbox, now)
        below = self._ledger.below(account.id, inbox, until)
        uids = self._store.uids(account.id, inbox.id)
        if not uids or uids[0] >= below:
            return 0
        lease = await self._store.lock_maildrop(account.id)
        try:
            gone = await self._store.expunge(
                account.id, inbox.id, UidSet([(1, below - 1)]), only_deleted=False
            )
        finally:
            await lease.release()
        self._ledger.forget(account.id, inbox, below)
        count = len(gone.uids)
        if count:
            _log.info("messages expired", account=account.name, count=count)
        return count
