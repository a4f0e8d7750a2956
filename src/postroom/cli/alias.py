"""``postroom alias``: addresses that stand for others, and addresses an account may send as."""

from __future__ import annotations

from cyclopts import App

from postroom.cli.directory import open_directory
from postroom.cli.output import Json, print_json, print_table, say

app = App(name="alias", help="Addresses that stand for others.")


@app.command
def add(address: str, target: str, /, *more: str) -> None:
    """Have an address lead to one or more others, here or elsewhere.

    Parameters
    ----------
    address
        The new address, in a domain of this server.
    target
        Who gets the mail.
    more
        Who gets it, too.
    """
    with open_directory() as directory:
        alias = directory.add_alias(address, [target, *more])
    say(f"added {alias.address} -> {', '.join(alias.targets)}")


@app.command(name="list")
def list_(domain: str | None = None, /, *, json: Json = False) -> None:
    """List the aliases.

    Parameters
    ----------
    domain
        Only those of this domain.
    json
        Print JSON instead of a table.
    """
    with open_directory() as directory:
        aliases = directory.aliases(domain)
    if json:
        print_json([{"address": each.address, "targets": list(each.targets)} for each in aliases])
    else:
        print_table(("alias", "targets"), [(each.address, ", ".join(each.targets)) for each in aliases])


@app.command
def remove(address: str, /) -> None:
    """Remove an alias.

    Parameters
    ----------
    address
        The alias.
    """
    with open_directory() as directory:
        directory.remove_alias(address)
    say(f"removed {address}")
