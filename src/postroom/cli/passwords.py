"""How commands get a password: never from the command line, where every user of the machine could read it."""

from __future__ import annotations

import getpass
import sys
from typing import Final

from postroom.cli.exits import Exit, Failed
from postroom.cli.init import make_password

_HINT: Final = "give it with --password-stdin, or have one made with --generate"


def read_password(
    *, from_stdin: bool, generate: bool, what: str = "Password", hint: str = _HINT
) -> tuple[str, bool]:
    """A password and whether it was made here: the first line of standard input, a new one, or asked for twice, by the
    name ``what``. ``hint`` is given where nobody can be asked.

    Raises Failed.
    """
    if from_stdin and generate:
        raise Failed("--password-stdin and --generate exclude each other", Exit.USAGE)
    if generate:
        return make_password(), True
    if from_stdin:
        return _from_stdin(), False
    if not sys.stdin.isatty():
        raise Failed(
            f"no {what.lower()}",
            Exit.USAGE,
            hint,
        )
    first = getpass.getpass(f"{what}: ")
    if getpass.getpass("Again: ") != first:
        raise Failed("the two passwords differ")
    return first, False


def _from_stdin() -> str:
    line = sys.stdin.readline(4096)
    password = line.removesuffix("\n").removesuffix("\r")
    if not password:
        raise Failed("standard input holds no password")
    return password
