"""``postroom account app-password``: passwords for one program each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from postroom.cli.directory import open_directory
from postroom.cli.exits import Exit, Failed
from postroom.cli.offline import find_account
from postroom.cli.output import Json, print_json, print_table, say
from postroom.config.spec import Unit, read_quantity
from postroom.store.app_passwords import PROTOCOLS

app = App(name="app-password", help="Passwords for one program each, that can be revoked one by one.")


@app.command
def add(
    name: str,
    label: str,
    /,
    *,
    protocol: Annotated[list[str] | None, Parameter(negative=())] = None,
    expires: str | None = None,
    json: Json = False,
) -> None:
    """Make an app password for an account and print it, this once.

    Parameters
    ----------
    name
        The account.
    label
        What it is for, such as "telephone"; it is revoked by this name.
    protocol
        imap, pop3 or submission; may be given several times. All of them when none is named.
    expires
        When it ends, such as "90 d"; never unless given.
    json
        Print JSON.
    """
    try:
        seconds = None if expires is None else read_quantity(expires, Unit.SECONDS)
    except ValueError as error:
        raise Failed(f"--expires {error}", Exit.USAGE) from error
    with open_directory() as directory:
        account = find_account(directory, name)
        made = directory.add_app_password(account.name, label, protocol or PROTOCOLS, seconds)
    if json:
        print_json(
            {
                "name": account.name,
                "label": label,
                "protocols": list(made.entry.protocols),
                "expires": made.entry.expires,
                "password": made.password,
            }
        )
    else:
        say(f"app password {label} of {account.name} for {', '.join(made.entry.protocols)}: {made.password}")


@app.command(name="list")
def list_(name: str, /, *, json: Json = False) -> None:
    """List an account's app passwords; the passwords themselves are nowhere to be seen.

    Parameters
    ----------
    name
        The account.
    json
        Print JSON instead of a table.
    """
    with open_directory() as directory:
        entries = directory.app_passwords(find_account(directory, name).name)
    if json:
        print_json(
            [
                {
                    "label": each.label,
                    "protocols": list(each.protocols),
                    "created": each.created,
                    "expires": each.expires,
                }
                for each in entries
            ]
        )
        return
    rows = [
        (each.label, ", ".join(each.protocols), _date(each.created), _date(each.expires)) for each in entries
    ]
    print_table(("label", "protocols", "made", "ends"), rows)


@app.command
def revoke(name: str, label: str, /) -> None:
    """Take an app password back: it opens nothing from now on.

    Parameters
    ----------
    name
        The account.
    label
        As the list shows it.
    """
    with open_directory() as directory:
        account = find_account(directory, name)
        directory.revoke_app_password(account.name, label)
    say(f"revoked app password {label} of {account.name}")


def _date(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
