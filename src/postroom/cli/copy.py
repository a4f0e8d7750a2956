"""``postroom copy``: whole accounts from one IMAP server to another, ours or anybody's.

Invariants: the source is only read. Passwords come from files, never from the command line. Every account is tried, whatever
becomes of the others.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from postroom.cli.exits import Exit, Failed
from postroom.cli.output import Json, complain, console, print_json, say
from postroom.collect.remote import Security
from postroom.copying.copier import FolderReport, Wishes
from postroom.copying.proof import FolderProof
from postroom.copying.unique_ids import RULES, UniqueIdReport

if TYPE_CHECKING:
    from postroom.app.copying import UniqueIdSource


@dataclass(slots=True, frozen=True)
class Side:
    """An account on a server."""

    host: str
    port: int
    security: Security
    user: str
    password: str = field(repr=False)

    @property
    def name(self) -> str:
        """What it is called in messages and in the ledger."""
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(slots=True)
class Outcome:
    """What became of one pair of accounts."""

    source: Side
    target: Side
    folders: list[FolderReport] = field(default_factory=list)
    proof: list[FolderProof] | None = None
    unique_ids: UniqueIdReport | None = None
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether everything was done, and proved if it was to be."""
        return (
            not self.error
            and not any(each.problems for each in self.folders)
            and not any(each.differences for each in self.proof or ())
        )


def copy(
    source: str,
    target: str,
    /,
    *,
    source_password: Annotated[Path | None, Parameter(name="--source-password-file")] = None,
    target_password: Annotated[Path | None, Parameter(name="--target-password-file")] = None,
    accounts: Path | None = None,
    remove: bool = False,
    dry_run: bool = False,
    proof: bool = True,
    unique_ids: str = "",
    unique_ids_folder: Path | None = None,
    trust: Path | None = None,
    ledger: Path | None = None,
    json: Json = False,
) -> int:
    """Copy whole accounts from one IMAP server to another, or bring a copy up to date.

    Mailboxes with a special use (Sent, Trash ...) go to the target's own; flags, keywords and dates come along. A run that was
    cut off goes on when the same command is given again. At the end both sides are compared octet by octet.

    Parameters
    ----------
    source
        `imaps://user@host[:port]`, or `imap://...` which begins TLS by STARTTLS. A user's `@` is written `%40`.
    target
        Where to, the same way.
    source_password
        File whose first line is the source's password.
    target_password
        File whose first line is the target's password.
    accounts
        Instead of users and passwords: a CSV file with the columns source_user, source_password, target_user, target_password.
    remove
        What was copied before and is gone from the source is removed from the target.
    dry_run
        Only say what would be copied.
    proof
        Compare both sides at the end.
    unique_ids
        Write down the unique ids (UIDL) that messages of INBOX have at the source, for `postroom mailbox uidl import` on the
        target: `pop3s://host[:port]` (or `pop3://...`, with STLS) asks the source's POP3; `dovecot`, `cyrus`, `courier` or
        `postroom` makes them as that server does when it is not told otherwise.
    unique_ids_folder
        Where to: one file for each account, named after the target's user. Otherwise the current folder.
    trust
        PEM file with the authorities that are trusted, instead of the system's.
    ledger
        Where it is written down what was copied; otherwise below the user's state directory.
    json
        Print what was done as JSON.
    """
    pairs = list(read_accounts(source, target, accounts)) if accounts else [
        (
            parse_side(source, "", read_password(source_password, "--source-password-file")),
            parse_side(target, "", read_password(target_password, "--target-password-file")),
        )
    ]  # fmt: skip
    place = ledger or default_ledger()
    wishes = Wishes(remove=remove, dry_run=dry_run)
    known = parse_unique_ids(unique_ids) if unique_ids and not dry_run else None
    outcomes = asyncio.run(
        _all(pairs, place, wishes, trust, proof=proof and not dry_run, known=known, quiet=json)
    )
    for outcome in outcomes:
        if outcome.unique_ids is not None:
            write_unique_ids(unique_ids_folder or Path(), outcome.target.user, outcome.unique_ids)
    if json:
        print_json([as_json(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            tell(outcome, dry_run=dry_run)
    if any(outcome.error for outcome in outcomes):
        return Exit.UNAVAILABLE
    return Exit.OK if all(outcome.good for outcome in outcomes) else Exit.FOUND


def parse_side(url: str, user: str, password: str) -> Side:
    """An account from its URL; ``user`` overrides the URL's. Raises Failed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Failed(f"{url}: {error}", Exit.USAGE) from None
    if parts.scheme not in ("imap", "imaps") or not parts.hostname or parts.password is not None:
        raise Failed(f"{url} is not of the form imaps://user@host", Exit.USAGE)
    name = user or unquote(parts.username or "")
    if not name:
        raise Failed(f"{url} names no user", Exit.USAGE)
    implicit = parts.scheme == "imaps"
    security = Security.IMPLICIT if implicit else Security.STARTTLS
    return Side(parts.hostname, port or (993 if implicit else 143), security, name, password)


def parse_unique_ids(text: str) -> UniqueIdSource:
    """The option ``--unique-ids``. Raises Failed."""
    from postroom.app.copying import UniqueIdSource

    if text in RULES:
        return UniqueIdSource(rule=text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Failed(f"{text}: {error}", Exit.USAGE) from None
    if (
        parts.scheme not in ("pop3", "pop3s")
        or not parts.hostname
        or parts.username
        or parts.path not in ("", "/")
    ):
        raise Failed(f"{text} is neither pop3s://host nor one of {', '.join(RULES)}", Exit.USAGE)
    implicit = parts.scheme == "pop3s"
    security = Security.IMPLICIT if implicit else Security.STARTTLS
    return UniqueIdSource("", parts.hostname, port or (995 if implicit else 110), security)


def write_unique_ids(folder: Path, user: str, report: UniqueIdReport) -> None:
    """A file that ``postroom mailbox uidl import`` reads. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w@.+-]", "_", user).lstrip(".") or "_"
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("uid", "uidl"))
        table.writerows(sorted(report.ids.items()))


def read_password(path: Path | None, option: str) -> str:
    """The first line of a file. Raises Failed, OSError."""
    if path is None:
        raise Failed(f"{option} is needed", Exit.USAGE)
    return path.read_text(encoding="utf-8").split("\n", 1)[0]


def read_accounts(source: str, target: str, path: Path) -> list[tuple[Side, Side]]:
    """Pairs of accounts from a CSV file. Raises Failed, OSError."""
    pairs = []
    with path.open(newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.DictReader(stream), 2):
            try:
                pairs.append(
                    (
                        parse_side(source, row["source_user"], row["source_password"]),
                        parse_side(target, row["target_user"], row["target_password"]),
                    )
                )
            except (KeyError, TypeError):
                raise Failed(
                    f"{path}:{number}: source_user, source_password, target_user, target_password are needed",
                    Exit.DATA,
                ) from None
    return pairs


def default_ledger() -> Path:
    """Below the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "postroom" / "copied.sqlite"


async def _all(
    pairs: list[tuple[Side, Side]],
    place: Path,
    wishes: Wishes,
    trust: Path | None,
    *,
    proof: bool,
    known: UniqueIdSource | None,
    quiet: bool,
) -> list[Outcome]:
    from postroom.app.copying import copy_account
    from postroom.copying.ledger import Ledger

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    outcomes = []
    with Ledger(place) as ledger, Progress(
        *columns, console=console(error=True), transient=True, disable=quiet
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=None)

        def told(folder: str, done: int, total: int | None) -> None:
            bar.update(task, description=folder, completed=done, total=total)

        for source, target in pairs:
            outcome = Outcome(source, target)
            outcomes.append(outcome)
            await copy_account(outcome, ledger, wishes, trust, told, proof=proof, unique_ids=known)
    return outcomes


def as_json(outcome: Outcome) -> dict[str, object]:
    """One outcome as ``--json`` shows it."""
    return {
        "source": outcome.source.name,
        "target": outcome.target.name,
        "error": outcome.error,
        "folders": [
            {name: getattr(each, name) for name in FolderReport.__slots__} for each in outcome.folders
        ],
        "proof": None
        if outcome.proof is None
        else [{name: getattr(each, name) for name in FolderProof.__slots__} for each in outcome.proof],
        "unique_ids": None
        if outcome.unique_ids is None
        else {"known": len(outcome.unique_ids.ids), "unknown": outcome.unique_ids.unknown},
        "good": outcome.good,
    }


def tell(outcome: Outcome, *, dry_run: bool) -> None:
    """One outcome for people."""
    table = Table(title=f"{outcome.source.name} to {outcome.target.name}", title_justify="left")
    for heading in (
        "from",
        "to",
        "messages",
        "would copy" if dry_run else "copied",
        "were there",
        "flags",
        "removed",
    ):
        table.add_column(heading, justify="left" if heading in ("from", "to") else "right")
    for each in outcome.folders:
        numbers = (each.messages, each.copied, each.adopted, each.flagged, each.removed)
        table.add_row(each.source, each.target, *(str(number) for number in numbers))
    console().print(table)
    for each in outcome.folders:
        for problem in each.problems:
            complain(f"{each.source}: {problem}")
    for found in outcome.proof or ():
        for difference in found.differences:
            complain(f"{found.source}: {difference}")
    if outcome.unique_ids is not None:
        say(f"unique ids of {len(outcome.unique_ids.ids)} messages of INBOX written down")
        if outcome.unique_ids.unknown:
            complain(f"INBOX: the unique ids of {outcome.unique_ids.unknown} messages are not known")
    if outcome.error:
        complain(outcome.error)
    elif outcome.proof is not None:
        same = sum(each.same for each in outcome.proof)
        more = sum(each.more for each in outcome.proof)
        besides = f"; the target has {more} more of its own" if more else ""
        if outcome.good:
            say(f"proved: {same} messages are the same on both sides{besides}")
