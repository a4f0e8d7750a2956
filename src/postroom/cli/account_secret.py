"""``postroom account secret``: what CRAM-MD5 and APOP compare, for those few who have clients that know nothing better."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from postroom.cli.directory import open_directory
from postroom.cli.exits import Exit, Failed
from postroom.cli.offline import find_account
from postroom.cli.output import Json, print_json, say
from postroom.cli.passwords import read_password

app = App(
    name="secret",
    help="Secrets for CRAM-MD5 and APOP: who has none cannot log in with them. Never the login password.",
)


@app.command(name="set")
def set_(
    name: str,
    /,
    *,
    secret_stdin: Annotated[bool, Parameter(name="--secret-stdin", negative=(), show_default=False)] = False,
    ask: Annotated[bool, Parameter(name="--ask", negative=(), show_default=False)] = False,
    json: Json = False,
) -> None:
    """Give an account a secret for CRAM-MD5 and APOP; makes one and prints it, this once.

    Parameters
    ----------
    name
        The account.
    secret_stdin
        Take the first line of standard input as the secret.
    ask
        Ask for the secret.
    json
        Print JSON.
    """
    if ask and secret_stdin:
        raise Failed("--ask and --secret-stdin exclude each other", Exit.USAGE)
    secret, made = read_password(
        from_stdin=secret_stdin,
        generate=not secret_stdin and not ask,
        what="Secret",
        hint="give it with --secret-stdin, or have one made",
    )
    with open_directory() as directory:
        account = find_account(directory, name)
        directory.set_shared_secret(account.name, secret)
    if json:
        print_json({"name": account.name, "secret": secret if made else None})
    else:
        say(f"secret of {account.name} set" + (f": {secret}" if made else ""))


@app.command
def remove(name: str, /) -> None:
    """Take an account's secret away: CRAM-MD5 and APOP let it in no more.

    Parameters
    ----------
    name
        The account.
    """
    with open_directory() as directory:
        account = find_account(directory, name)
        directory.remove_shared_secret(account.name)
    say(f"secret of {account.name} removed")


@app.command(name="show-status")
def show_status(name: str, /, *, json: Json = False) -> None:
    """Tell whether an account has a secret, and since when. The secret itself is not shown.

    Parameters
    ----------
    name
        The account.
    json
        Print JSON.
    """
    with open_directory() as directory:
        account = find_account(directory, name)
        created = directory.shared_secret_since(account.name)
    since = None if created is None else datetime.fromtimestamp(created, UTC).isoformat()
    if json:
        print_json({"name": account.name, "since": since})
    else:
        say(f"{account.name} has " + ("no secret" if since is None else f"a secret since {since}"))
