"""The ``postroom`` command.

Purpose: the entry point alone, so that importing it costs nothing; the commands are in the modules beside it.

It must not know: protocols, engines. Everything goes through ``postroom.app``, the configuration and the store's API.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` by default) and return the exit code: see ``cli.exits``."""
    from postroom.cli.program import run

    return run(arguments)
