"""The mail store as commands use it: alone, or beside a running server, which then does the writing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from postroom.cli.exits import Exit, Failed
from postroom.cli.target import current
from postroom.config.settings import Settings
from postroom.model.account import Account
from postroom.store.api import MailStore
from postroom.store.directory import Directory, NoSuchEntry

AT_ONCE: Final = 500

Result = TypeVar("Result")
Work = Callable[[Directory, MailStore], Awaitable[Result]]


def with_store(work: Work[Result], settings: Settings | None = None) -> Result:
    """Run ``work`` with the directory and the store. Raises Failed while a server is starting or stopping, and what ``work``
    raises."""
    chosen = settings or current().settings()
    current().data(chosen)
    return asyncio.run(_with_store(work, chosen))


async def _with_store(work: Work[Result], settings: Settings) -> Result:
    from postroom import app

    try:
        async with app.open_offline(settings) as offline:
            return await work(offline.directory, offline.store)
    except app.AlreadyRunning as error:
        raise Failed(error.public, Exit.TRY_AGAIN) from error


def find_account(directory: Directory, name: str) -> Account:
    """The account of a name. Raises NoSuchEntry, saying what may have been meant."""
    account = directory.account(name)
    if account is None:
        import difflib

        known = [each.name for each in directory.accounts()]
        close = difflib.get_close_matches(name, known, n=1)
        raise NoSuchEntry(f"No account {name}" + (f"; did you mean {close[0]}?" if close else ""))
    return account


async def open_account(directory: Directory, store: MailStore, name: str) -> Account:
    """The account of a name, with its mailboxes in place. Raises NoSuchEntry."""
    account = find_account(directory, name)
    await store.create_account(account.id, account.quota)
    return account


async def open_accounts(store: MailStore, accounts: Sequence[Account]) -> None:
    """Put the mailboxes of many accounts in place, many to a commit."""
    for start in range(0, len(accounts), AT_ONCE):
        batch = accounts[start : start + AT_ONCE]
        await asyncio.gather(*(store.create_account(each.id, each.quota) for each in batch))


def make_mailboxes(accounts: Sequence[Account], settings: Settings | None = None) -> None:
    """Give new accounts their mailboxes now; a server that is just starting does it by itself."""

    async def work(_directory: Directory, store: MailStore) -> None:
        await open_accounts(store, accounts)

    try:
        with_store(work, settings)
    except Failed as error:
        if error.code is not Exit.TRY_AGAIN:
            raise
