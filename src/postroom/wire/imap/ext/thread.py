"""THREAD=ORDEREDSUBJECT and THREAD=REFERENCES (RFC 5256): the command and its response.

Invariants: threads of any depth are written and read without recursion, in linear time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import Thread
from postroom.wire.imap.messages import both_forms, parse_charset
from postroom.wire.imap.responses import ThreadData
from postroom.wire.imap.searchkeys import SearchText, parse_search_keys, write_search_keys
from postroom.wire.imap.sort import ThreadAlgorithm
from postroom.wire.imap.values.atoms import ATOM, parse_nz_number
from postroom.wire.imap.writer import CommandText

_ALGORITHMS: Final = {each.value.encode("ascii"): each for each in ThreadAlgorithm}


def parse_thread(cursor: Cursor, *, uid: bool = False) -> Thread:
    """thread = "THREAD" SP thread-alg SP charset 1*(SP search-key). Raises UnknownCharset."""
    cursor.expect(b" ")
    algorithm = _ALGORITHMS.get(cursor.need(ATOM, "threading algorithm").upper())
    if algorithm is None:
        cursor.fail("unknown threading algorithm")
    cursor.expect(b" ")
    charset = parse_charset(cursor)
    cursor.expect(b" ")
    key = parse_search_keys(cursor, SearchText(charset))
    cursor.finish()
    return Thread(algorithm, key, uid, charset)


def write_thread(text: CommandText, command: Thread) -> None:
    """The arguments of THREAD."""
    text.text(f" {command.algorithm.value} {command.charset} ".encode("ascii"))
    write_search_keys(text, command.key)


def write_thread_data(data: ThreadData) -> bytes:
    """thread-data, without ``* ``."""
    if not data.members:
        return b"THREAD"
    return b"THREAD " + "".join(write_members(data.members)).encode("ascii")


def write_members(members: Sequence[tuple[int, int]]) -> list[str]:
    """Threads in pieces of text; ``members`` as in ThreadData."""
    alone = _only_children(members)
    pieces: list[str] = []
    opened: list[int] = []  # depths of the members that a parenthesis was opened for
    numbered = False  # whether the piece before is a number
    for place, (depth, number) in enumerate(members):
        while opened and opened[-1] >= depth:
            opened.pop()
            pieces.append(")")
            numbered = False
        if depth and alone[place]:
            pieces.append(" ")
        else:
            pieces.append(" (" if numbered and depth else "(")
            opened.append(depth)
        numbered = bool(number)
        if number:
            pieces.append(str(number))
    pieces.append(")" * len(opened))
    return pieces


def _only_children(members: Sequence[tuple[int, int]]) -> list[bool]:
    """For each member whether it is the one child of a parent that has a number."""
    children = [0] * len(members)
    parents = [-1] * len(members)
    path: list[int] = []
    for place, (depth, _) in enumerate(members):
        del path[depth:]
        if path:
            parents[place] = path[-1]
            children[path[-1]] += 1
        path.append(place)
    return [parent >= 0 and children[parent] == 1 and bool(members[parent][1]) for parent in parents]


def parse_thread_data(cursor: Cursor) -> ThreadData:
    """The counterpart, after the word."""
    members: list[tuple[int, int]] = []
    if not cursor.skip(b" ") or cursor.at_end():
        return ThreadData(())
    starts: list[int] = []  # depth at which each open parenthesis began
    depth = 0
    fresh = False  # whether nothing stands behind the last opening parenthesis
    while not cursor.at_end():
        if cursor.skip(b"("):
            if fresh:
                members.append((depth, 0))
                depth += 1
            starts.append(depth)
            fresh = True
        elif starts and not fresh and cursor.skip(b")"):
            depth = starts.pop()
        elif not cursor.skip(b" "):
            if not starts:
                cursor.fail("expected a thread")
            members.append((depth, parse_nz_number(cursor)))
            depth += 1
            fresh = False
    if starts:
        cursor.fail("a thread without its end")
    return ThreadData(tuple(members))


ROWS: Final = both_forms(b"THREAD", parse_thread, write_thread, Thread, expunge=False)
