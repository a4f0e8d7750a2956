"""``postroom domain``: the domains mail is received for."""

from __future__ import annotations

from cyclopts import App

from postroom.cli.directory import open_directory
from postroom.cli.output import Json, print_json, print_table, say

app = App(name="domain", help="Domains that mail is received for.")


@app.command
def add(name: str, /, *, catch_all: str | None = None) -> None:
    """Receive mail for a domain.

    Parameters
    ----------
    name
        The domain, such as example.test.
    catch_all
        The address that gets what is sent to nobody known.
    """
    with open_directory() as directory:
        domain = directory.add_domain(name)
        if catch_all is not None:
            directory.set_catch_all(domain.name, catch_all)
    say(f"added {domain.name}")


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the domains.

    Parameters
    ----------
    json
        Print JSON instead of a table.
    """
    with open_directory() as directory:
        counts = {
            domain.name: sum(1 for _ in directory.accounts(domain.name)) for domain in directory.domains()
        }
        domains = directory.domains()
    if json:
        print_json(
            [
                {"name": each.name, "catch_all": each.catch_all, "accounts": counts[each.name]}
                for each in domains
            ]
        )
    else:
        print_table(
            ("domain", "accounts", "catch-all"),
            [(each.name, counts[each.name], each.catch_all) for each in domains],
        )


@app.command
def catch_all(name: str, address: str = "", /) -> None:
    """Set who gets what is sent to nobody known in a domain; without an address, nobody.

    Parameters
    ----------
    name
        The domain.
    address
        The account or alias that gets it.
    """
    with open_directory() as directory:
        directory.set_catch_all(name, address or None)
    say(f"{name}: {f'unknown recipients go to {address}' if address else 'unknown recipients are refused'}")


@app.command
def remove(name: str, /) -> None:
    """Receive no more mail for a domain; its aliases go, too. It must not have accounts.

    Parameters
    ----------
    name
        The domain.
    """
    with open_directory() as directory:
        directory.remove_domain(name)
    say(f"removed {name}")
