"""What is legal when: the states, and the row that describes a command.

Purpose: one table decides legality, pipelining and which commands may report EXPUNGE; no other module asks for a command's name.
Rows of RFC 3501 stand in ``grammar.py``, rows of an extension in its file under ``ext/``; ``table.py`` gathers them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from postroom.wire.cursor import Cursor
    from postroom.wire.imap.writer import CommandText


class State(IntFlag):
    """Protocol states (RFC 3501 §3)."""

    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 4
    LOGOUT = 8


ANY: Final = State.NOT_AUTHENTICATED | State.AUTHENTICATED | State.SELECTED
LOGGED_IN: Final = State.AUTHENTICATED | State.SELECTED


@dataclass(slots=True, frozen=True)
class CommandSpec:
    """A row of the table.

    ``name`` is the wire name in capitals ("UID FETCH" for the UID form). ``parse`` reads the arguments, from the space
    before them to the end; ``write`` writes them, that space included. ``sequence``: has or reports sequence numbers, so that
    EXPUNGE must not be sent while it runs (RFC 3501 §7.4.1, §5.5). ``expunge``: EXPUNGE may be reported before its tagged
    reply. ``last``: nothing may be pipelined behind it.
    """

    name: bytes
    states: State
    parse: Callable[[Cursor], Any]
    write: Callable[[CommandText, Any], None]
    command: type[Any]
    uid: bool = False
    sequence: bool = False
    expunge: bool = True
    last: bool = False
