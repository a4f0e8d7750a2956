"""``postroom ban``: networks that may not log in."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from postroom.cli.directory import open_directory
from postroom.cli.exits import Exit, Failed
from postroom.cli.output import Json, print_json, print_table, say
from postroom.config.spec import Unit, read_quantity

app = App(name="ban", help="Networks that may not log in.")


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the networks that may not log in now.

    Parameters
    ----------
    json
        Print JSON instead of a table.
    """
    with open_directory() as directory:
        bans = [ban for ban in directory.bans() if ban.holds(time.time())]
    if json:
        print_json(
            [
                {"network": ban.network, "since": ban.created, "until": ban.until, "reason": ban.reason}
                for ban in bans
            ]
        )
    else:
        rows = [(ban.network, _date(ban.created), _date(ban.until), ban.reason) for ban in bans]
        print_table(("network", "since", "until", "reason"), rows)


@app.command
def add(
    network: str,
    /,
    *,
    for_: Annotated[str | None, Parameter(name="--for")] = None,
    reason: str = "",
) -> None:
    """Refuse the connections of an address or a network where people log in, at once.

    Whoever has logged in already stays. Mail from other servers (SMTP on port 25) is taken as before. Loopback cannot be banned.

    Parameters
    ----------
    network
        Such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64.
    for_
        How long, such as "2 h" or "30 d"; without it until it is removed.
    reason
        Shown in the list.
    """
    try:
        seconds = None if for_ is None else read_quantity(for_, Unit.SECONDS)
    except ValueError as error:
        raise Failed(f"--for {error}", Exit.USAGE) from error
    with open_directory() as directory:
        ban = directory.add_ban(network, seconds, reason)
    say(f"banned {ban.network} {'until ' + _date(ban.until) if ban.until else 'until it is removed'}")


@app.command
def remove(network: str, /) -> None:
    """Let an address or a network log in again, at once.

    Parameters
    ----------
    network
        As the list shows it.
    """
    with open_directory() as directory:
        directory.remove_ban(network)
    say(f"removed {network}")


def _date(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
