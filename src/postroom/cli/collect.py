"""``postroom collect``: mail from mailboxes on other servers, as the configuration names them.

Invariants: every source is tried, whatever becomes of the others; nothing is fetched twice.
"""

from __future__ import annotations

import difflib
from typing import Any

from rich.progress import Progress

from postroom.cli.exits import Exit, Failed
from postroom.cli.importing import show_progress
from postroom.cli.offline import open_account, with_store
from postroom.cli.output import Json, complain, print_json, say
from postroom.cli.target import current
from postroom.config.paths import DataDir
from postroom.config.settings import Settings
from postroom.config.sources import Source
from postroom.model.errors import InUse
from postroom.store.api import MailStore
from postroom.store.directory import Directory


def collect(*names: str, dry_run: bool = False, json: Json = False) -> int:
    """Fetch mail from other servers into mailboxes here.

    The sources are the `[[collect]]` tables of the configuration. What was fetched once is never fetched again; what is to
    be deleted over there is deleted only when it is safely stored here.

    Parameters
    ----------
    names
        The sources; all of them when none is named.
    dry_run
        Only say what would be fetched and deleted.
    json
        Print what was done as JSON.
    """
    from postroom.app.collecting import Outcome, collect_source

    settings = current().settings()
    sources = choose(settings, names)
    data = DataDir(settings.data_dir)

    async def work(directory: Directory, store: MailStore) -> list[tuple[Source, Outcome]]:
        outcomes = []
        for source in sources:
            account = await open_account(directory, store, source.account)
            with show_progress(0, quiet=json) as bar:

                def told(done: int, total: int, bar: Progress = bar) -> None:
                    bar.update(bar.task_ids[0], completed=done, total=total)

                try:
                    outcome = await collect_source(
                        data, store, source, account, dry_run=dry_run, directory=directory, progress=told
                    )
                except InUse as error:
                    raise Failed(error.public, Exit.TRY_AGAIN) from error
            outcomes.append((source, outcome))
        return outcomes

    outcomes = with_store(work, settings)
    if json:
        print_json([as_json(source, outcome) for source, outcome in outcomes])
    else:
        for source, outcome in outcomes:
            tell(source, outcome, dry_run=dry_run)
    if any(outcome.error for _, outcome in outcomes):
        return Exit.UNAVAILABLE
    return Exit.FOUND if any(outcome.report.problems for _, outcome in outcomes) else Exit.OK


def choose(settings: Settings, names: tuple[str, ...]) -> list[Source]:
    """The sources that are meant. Raises Failed for a name that is not configured."""
    known = {source.name: source for source in settings.collect}
    if not known:
        raise Failed("no [[collect]] table is configured", Exit.CONFIG)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise Failed(f"no source {name} is configured{meant}", Exit.NO_ENTRY)
    return [known[name] for name in names] or list(known.values())


def as_json(source: Source, outcome: Any) -> dict[str, object]:
    """One outcome as ``--json`` shows it."""
    report = outcome.report
    return {
        "source": source.name,
        "account": source.account,
        "listed": report.listed,
        "stored": report.stored,
        "octets": report.octets,
        "known": report.known,
        "filtered": report.filtered,
        "deleted": report.deleted,
        "problems": [{"key": key, "reason": why} for key, why in report.problems],
        "error": outcome.error,
    }


def tell(source: Source, outcome: Any, *, dry_run: bool) -> None:
    """One outcome for people."""
    report = outcome.report
    for key, why in report.problems:
        complain(f"{source.name}: left {key} where it is: {why}")
    if outcome.error:
        complain(f"{source.name}: {outcome.error}")
    would = "would fetch" if dry_run else "fetched"
    parts = [f"{would} {report.stored} messages into {source.account}"]
    if report.known:
        parts.append(f"{report.known} were there already")
    if report.filtered:
        parts.append(f"{report.filtered} were not wanted")
    if report.deleted:
        parts.append(f"{report.deleted} {'would be ' if dry_run else ''}deleted over there")
    say(f"{source.name}: " + ", ".join(parts))
