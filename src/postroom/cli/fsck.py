"""``postroom fsck``: whether the store keeps its invariants."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from postroom.cli.exits import Exit, Failed
from postroom.cli.output import Json, complain, print_json, say
from postroom.cli.target import current


def fsck(
    *,
    deep: Annotated[bool, Parameter(name="--deep", negative=(), show_default=False)] = False,
    json: Json = False,
) -> int:
    """Check the store: counters, UIDs, modseqs, references.

    No server may be running.

    Parameters
    ----------
    deep
        Also read every message and compare its checksum.
    json
        Print what was found as JSON.
    """
    from postroom import app

    settings = current().settings()
    current().data(settings)
    try:
        problems = [str(each) for each in app.fsck(settings, deep=deep)]
    except app.AlreadyRunning as error:
        raise Failed(
            "a server is running on this data directory",
            Exit.TRY_AGAIN,
            "stop it for the time of this command",
        ) from error
    if json:
        print_json({"clean": not problems, "problems": problems})
    elif problems:
        for each in problems:
            complain(each)
        say(f"{len(problems)} problems")
    else:
        say("clean")
    return Exit.FOUND if problems else Exit.OK
