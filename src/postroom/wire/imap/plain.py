"""Argument shapes that several commands share: none at all, one mailbox name.

A row of the table is made of one of these or of functions of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from postroom.wire.cursor import Cursor
from postroom.wire.imap.spec import CommandSpec, State
from postroom.wire.imap.values.mailbox import parse_mailbox
from postroom.wire.imap.writer import CommandText

C = TypeVar("C")


def no_arguments(
    name: bytes,
    states: State,
    command: type[C],
    *,
    sequence: bool = False,
    expunge: bool = True,
    last: bool = False,
) -> CommandSpec:
    """The row of a command without arguments."""
    value = command()

    def parse(cursor: Cursor) -> C:
        cursor.finish()
        return value

    return CommandSpec(
        name, states, parse, write_nothing, command, sequence=sequence, expunge=expunge, last=last
    )


def write_nothing(text: CommandText, command: object) -> None:
    """Write no arguments."""


def one_mailbox(name: bytes, states: State, command: Callable[[str], Any]) -> CommandSpec:
    """The row of a command whose only argument is a mailbox name; ``command`` is its dataclass."""

    def parse(cursor: Cursor) -> object:
        cursor.expect(b" ")
        mailbox = parse_mailbox(cursor)
        cursor.finish()
        return command(mailbox)

    def write(text: CommandText, value: Any) -> None:
        write_mailbox(text, value.mailbox)

    assert isinstance(command, type)
    return CommandSpec(name, states, parse, write, command)


def write_mailbox(text: CommandText, mailbox: str) -> None:
    """A space and a mailbox name."""
    text.text(b" ")
    text.astring(text.name(mailbox))
