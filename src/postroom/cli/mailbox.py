"""``postroom mailbox``: the mailboxes of an account."""

from __future__ import annotations

from cyclopts import App

from postroom.cli import uidl
from postroom.cli.exits import Exit, Failed
from postroom.cli.offline import open_account, with_store
from postroom.cli.output import Json, octets, print_json, print_table, say
from postroom.model.mailbox import Mailbox, SpecialUse
from postroom.store.api import MailStore
from postroom.store.directory import Directory

app = App(name="mailbox", help="Mailboxes of an account.")


@app.command(name="list")
def list_(account: str, /, *, json: Json = False) -> None:
    """List an account's mailboxes.

    Parameters
    ----------
    account
        Whose.
    json
        Print JSON instead of a table.
    """

    async def work(directory: Directory, store: MailStore) -> list[Mailbox]:
        return list(store.mailboxes((await open_account(directory, store, account)).id))

    found = with_store(work)
    if json:
        print_json([_as_json(each) for each in found])
    else:
        print_table(
            ("mailbox", "messages", "unseen", "size", "use", "subscribed"),
            [
                (
                    each.name,
                    each.messages,
                    each.unseen,
                    octets(each.octets),
                    (each.special_use or "").removeprefix("\\"),
                    each.subscribed,
                )
                for each in found
            ],
        )


def _as_json(mailbox: Mailbox) -> dict[str, object]:
    return {
        "name": mailbox.name,
        "messages": mailbox.messages,
        "unseen": mailbox.unseen,
        "octets": mailbox.octets,
        "uid_validity": mailbox.uid_validity,
        "uid_next": mailbox.uid_next,
        "special_use": mailbox.special_use.value if mailbox.special_use else None,
        "subscribed": mailbox.subscribed,
        "selectable": mailbox.selectable,
    }


@app.command
def create(account: str, name: str, /, *, use: str = "") -> None:
    """Create a mailbox and subscribe to it.

    Parameters
    ----------
    account
        Whose.
    name
        Its name, levels separated by slashes.
    use
        What it is for: archive, drafts, junk, sent, trash, flagged or all.
    """
    special = _special_use(use) if use else None

    async def work(directory: Directory, store: MailStore) -> None:
        owner = await open_account(directory, store, account)
        await store.create_mailbox(owner.id, name, special)
        await store.subscribe(owner.id, name, True)

    with_store(work)
    say(f"created {name}")


def _special_use(text: str) -> SpecialUse:
    for each in SpecialUse:
        if each.value.removeprefix("\\").lower() == text.lower().removeprefix("\\"):
            return each
    known = ", ".join(each.value.removeprefix("\\").lower() for each in SpecialUse)
    raise Failed(f"no such use: {text}", Exit.USAGE, f"one of {known}")


@app.command
def rename(account: str, name: str, to: str, /) -> None:
    """Rename a mailbox with everything below it.

    Parameters
    ----------
    account
        Whose.
    name
        Its name now.
    to
        Its new name.
    """

    async def work(directory: Directory, store: MailStore) -> None:
        owner = await open_account(directory, store, account)
        await store.rename_mailbox(owner.id, name, to)

    with_store(work)
    say(f"renamed {name} to {to}")


@app.command
def delete(account: str, name: str, /) -> None:
    """Delete a mailbox with its messages.

    Parameters
    ----------
    account
        Whose.
    name
        Its name.
    """

    async def work(directory: Directory, store: MailStore) -> None:
        owner = await open_account(directory, store, account)
        await store.delete_mailbox(owner.id, name)
        await store.subscribe(owner.id, name, False)

    with_store(work)
    say(f"deleted {name}")


app.command(uidl.app)
