"""docs/cli.md, written from the commands themselves.

``python -m postroom.cli.reference`` prints the page; ``--write FILE`` puts it into a file. A test compares the file in the
tree with what this module says.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from postroom.cli.exits import MEANINGS
from postroom.cli.program import program

HEAD: Final = """\
<!-- Written by `make docs` from src/postroom/cli: change it there. -->
# The postroom command

`postroom` sets up, runs and looks after one mail system, which is a data directory with its configuration. After
`make venv-run` it is `.venv/bin/postroom`; `python -m postroom` is the same.

Output that is data goes to standard output, as a table or, with `--json`, as one JSON document; everything else goes to
standard error. Passwords are never taken from the command line: commands ask for them, or read `--password-stdin`.

```console
$ postroom init --data-dir /var/lib/postroom --hostname mail.example.test --account anna@example.test
$ postroom account add bob@example.test --generate --quota 2GB -d /var/lib/postroom
$ postroom serve -d /var/lib/postroom
$ postroom status -d /var/lib/postroom --json
$ postroom import anna@example.test ~/Maildir -d /var/lib/postroom
```

## Exit codes

| code | meaning |
|---|---|
{exits}

## Environment

`POSTROOM_CONFIG` names the configuration file. Every setting has a variable of its own, see
[configuration.md](configuration.md). `NO_COLOR` turns colours off.

## Options of every command

They may stand anywhere on the command line.

{shared}
"""

_SHARED_TITLE: Final = "**Options of every command**:\n"


def reference() -> str:
    """The whole page as Markdown."""
    exits = "\n".join(f"| {code.value} | {text} |" for code, text in MEANINGS.items())
    overview, *sections = _generated().split("\n## postroom ")
    shared = overview.partition(_SHARED_TITLE)[2].strip()
    pages = [HEAD.format(exits=exits, shared=shared)]
    for section in sections:
        text = section.replace(_SHARED_TITLE + "\n" + shared, "")
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        pages.append(f"\n## postroom {text.strip()}\n")
    return "".join(pages)


def _generated() -> str:
    """What cyclopts writes. It looks at how Python was started for the usage lines: the page must not depend on that."""
    started = sys.argv
    sys.argv = ["postroom"]
    try:
        return program().generate_docs(heading_level=1)
    finally:
        sys.argv = started


def main(arguments: Sequence[str]) -> int:
    """Print the page, or write it: ``--write FILE``."""
    match list(arguments):
        case []:
            sys.stdout.write(reference())
        case ["--write", name]:
            Path(name).write_text(reference(), encoding="utf-8")
        case _:
            sys.stderr.write("usage: python -m postroom.cli.reference [--write FILE]\n")
            return 64
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
