"""``postroom account``: who receives and reads mail here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.progress import track

from postroom.cli import account_secret, app_password
from postroom.cli.accounts_csv import Row, read_accounts
from postroom.cli.directory import open_directory
from postroom.cli.exits import Exit
from postroom.cli.init import forget_password
from postroom.cli.offline import find_account, make_mailboxes, open_account, open_accounts, with_store
from postroom.cli.output import Json, complain, console, octets, print_json, print_table, say
from postroom.cli.passwords import read_password
from postroom.cli.target import current
from postroom.config.spec import Unit, read_quantity
from postroom.model.account import Account
from postroom.model.errors import PostroomError
from postroom.store.api import MailStore
from postroom.store.directory import Directory, NewAccount

app = App(name="account", help="Accounts: who receives and reads mail.")

BATCH = 200
"""Accounts of a CSV file that are added in one transaction."""


def _quota(_type: Any, tokens: Any) -> int:
    """``--quota 2GB``."""
    return read_quantity(tokens[0].value, Unit.OCTETS)


Quota = Annotated[int, Parameter(converter=_quota)]
FromStdin = Annotated[bool, Parameter(name="--password-stdin", negative=(), show_default=False)]
Generate = Annotated[bool, Parameter(name="--generate", negative=(), show_default=False)]


@app.command
def add(
    name: str,
    /,
    *,
    password_stdin: FromStdin = False,
    generate: Generate = False,
    quota: Quota = 0,
    json: Json = False,
) -> None:
    """Add an account; asks for its password.

    Parameters
    ----------
    name
        The address and login, such as anna@example.test.
    password_stdin
        Take the first line of standard input as the password.
    generate
        Make a password and print it.
    quota
        How much mail it may hold, such as "2 GB". 0: without limit.
    json
        Print JSON.
    """
    password, made = read_password(from_stdin=password_stdin, generate=generate)
    settings = current().settings()
    with open_directory(settings) as directory:
        account = directory.add_account(name, password, quota=quota)
    make_mailboxes([account], settings)
    if json:
        print_json({"name": account.name, "id": account.id, "password": password if made else None})
    else:
        say(f"added {account.name}" + (f", password {password}" if made else ""))


@app.command(name="import")
def import_(file: Path, /, *, json: Json = False) -> int:
    """Add many accounts from a CSV file. Its first line names the columns.

    Columns: `name` (or `email`), `password`, `quota` (such as 2GB), `enabled` (yes or no), `password_hash` (argon2, in
    place of a password). Lines that cannot be added are told with their number; the others are added.

    Parameters
    ----------
    file
        The CSV file, in UTF-8.
    json
        Print what became of each line as JSON.
    """
    rows = read_accounts(file)
    settings = current().settings()
    outcomes: list[tuple[Row, Account | PostroomError]] = []
    with open_directory(settings) as directory:
        starts = range(0, len(rows), BATCH)
        steps = track(starts, "adding accounts", console=console(error=True), transient=True, disable=json)
        for start in steps:
            batch = rows[start : start + BATCH]
            found = directory.import_accounts(
                [row.account for row in batch if isinstance(row.account, NewAccount)]
            )
            results = iter(found)
            outcomes += [
                (row, row.account if isinstance(row.account, PostroomError) else next(results))
                for row in batch
            ]
    added = [outcome for _, outcome in outcomes if isinstance(outcome, Account)]
    if added:
        make_mailboxes(added, settings)
    refused = [(row, outcome) for row, outcome in outcomes if isinstance(outcome, PostroomError)]
    if json:
        print_json(
            {
                "added": [account.name for account in added],
                "refused": [
                    {"line": row.line, "name": row.name, "reason": why.public} for row, why in refused
                ],
            }
        )
    else:
        for row, why in refused:
            complain(f"{file}:{row.line}: {row.name}: {why.public}")
        say(f"added {len(added)} of {len(rows)}")
    return Exit.FOUND if refused else Exit.OK


@dataclass(slots=True, frozen=True)
class Described:
    """An account with what it holds, where that was asked for."""

    account: Account
    messages: int | None
    size: int | None


@app.command(name="list")
def list_(domain: str | None = None, /, *, usage: bool = False, json: Json = False) -> None:
    """List the accounts.

    Parameters
    ----------
    domain
        Only those of this domain.
    usage
        Tell how much mail each holds.
    json
        Print JSON instead of a table.
    """
    if usage:

        async def work(directory: Directory, store: MailStore) -> list[Described]:
            described = []
            accounts = list(directory.accounts(domain))
            await open_accounts(store, accounts)
            for account in accounts:
                held = store.usage(account.id)
                described.append(Described(account, held.messages, held.octets))
            return described

        found = with_store(work)
    else:
        with open_directory() as directory:
            found = [Described(account, None, None) for account in directory.accounts(domain)]
    if json:
        print_json([_as_json(each, usage=usage) for each in found])
        return
    columns = ["account", "enabled", "quota"] + (["messages", "size"] if usage else [])
    rows = []
    for each in found:
        account = each.account
        row: list[object] = [account.name, account.enabled, octets(account.quota) if account.quota else ""]
        rows.append(row + ([each.messages or 0, octets(each.size or 0)] if usage else []))
    print_table(columns, rows)


def _as_json(each: Described, *, usage: bool) -> dict[str, object]:
    account = each.account
    described: dict[str, object] = {
        "name": account.name,
        "id": account.id,
        "enabled": account.enabled,
        "quota": account.quota,
    }
    if usage:
        described |= {"messages": each.messages, "octets": each.size}
    return described


@app.command
def password(name: str, /, *, password_stdin: FromStdin = False, generate: Generate = False) -> None:
    """Set an account's password; asks for it.

    Parameters
    ----------
    name
        The account.
    password_stdin
        Take the first line of standard input as the password.
    generate
        Make a password and print it.
    """
    new, made = read_password(from_stdin=password_stdin, generate=generate)
    settings = current().settings()
    data = current().data(settings)
    with open_directory(settings) as directory:
        account = find_account(directory, name)
        directory.set_password(account.name, new)
    forget_password(data, account.name)
    say(f"password of {account.name} set" + (f": {new}" if made else ""))


@app.command
def enable(name: str, /) -> None:
    """Allow an account to log in and to receive.

    Parameters
    ----------
    name
        The account.
    """
    with open_directory() as directory:
        directory.set_enabled(find_account(directory, name).name, True)
    say(f"{name} is enabled")


@app.command
def disable(name: str, /) -> None:
    """Refuse an account's logins and mail; what it holds stays.

    Parameters
    ----------
    name
        The account.
    """
    with open_directory() as directory:
        directory.set_enabled(find_account(directory, name).name, False)
    say(f"{name} is disabled")


@app.command
def quota(name: str, size: Quota, /) -> None:
    """Set how much mail an account may hold.

    Parameters
    ----------
    name
        The account.
    size
        Such as "2 GB"; 0: without limit.
    """

    async def work(directory: Directory, store: MailStore) -> None:
        account = await open_account(directory, store, name)
        await store.set_quota(account.id, size)
        directory.set_quota(account.name, size)

    with_store(work)
    say(f"{name} may hold {octets(size) if size else 'mail without limit'}")


@app.command
def sender(name: str, address: str, /, *, remove: bool = False) -> None:
    """Let an account send as a further address, or as any address of a domain.

    Parameters
    ----------
    name
        The account.
    address
        The address, or @domain.
    remove
        Take it away again.
    """
    with open_directory() as directory:
        account = find_account(directory, name)
        (directory.remove_sender if remove else directory.add_sender)(account.name, address)
    say(f"{account.name} may {'no longer ' if remove else ''}send as {address}")


@app.command
def remove(
    name: str, /, *, yes: Annotated[bool, Parameter(name="--yes", negative=(), show_default=False)] = False
) -> int:
    """Remove an account with all its mail.

    Parameters
    ----------
    name
        The account.
    yes
        Do it; without this, only tell what would go.
    """

    async def work(directory: Directory, store: MailStore) -> tuple[Account, int]:
        account = await open_account(directory, store, name)
        held = store.usage(account.id).messages
        if yes:
            # The store first: what is interrupted here can be said again.
            await store.delete_account(account.id)
            directory.remove_account(account.name)
        return account, held

    account, held = with_store(work)
    if not yes:
        complain(f"{account.name} holds {held} messages", "say --yes to remove it with all of them")
        return Exit.NOT_ALLOWED
    say(f"removed {account.name} and {held} messages")
    return Exit.OK


app.command(account_secret.app)
app.command(app_password.app)
