"""Folders, flags and parts on POP3: known on listeners with the profile, and our own choice throughout (docs/pop3-folders.md).

The names of the nine folder commands are those that POP4 of 2003 had; what their arguments and replies were is not known, so
nothing here claims to be that protocol. FLAG, PLST and PART are ours altogether.

A folder's name is UTF-8: one word, or a quoted string with ``\\`` before ``"`` and ``\\``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.grammar import parse_number
from postroom.wire.pop3.spec import (
    Command,
    CommandSpec,
    Offers,
    Profile,
    State,
    bare,
    body,
    its_number,
    listing,
    nothing,
    number,
)

CAPABILITY: Final = "X-POSTROOM-FOLDERS"
MAX_FLAGS: Final = 32
_NAME: Final = re.compile(rb'"((?:[^"\\]|\\["\\])*)"|([^" ]+)')
_ESCAPE: Final = re.compile(rb"\\(.)")
_FLAG: Final = re.compile(rb"([+-])(\\?[!#$&-'*+,\-./0-9:;<=>?@A-Z^_`a-z|}~]{1,64})")
_SECTION: Final = re.compile(rb"[1-9][0-9]{0,4}(?:\.[1-9][0-9]{0,4}){0,30}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(slots=True, frozen=True)
class ListFolders(Command):
    """LFLD."""


@dataclass(slots=True, frozen=True)
class SelectFolder(Command):
    """SFLD folder."""

    folder: str


@dataclass(slots=True, frozen=True)
class CreateFolder(Command):
    """CFLD folder."""

    folder: str


@dataclass(slots=True, frozen=True)
class DeleteFolder(Command):
    """DFLD folder."""

    folder: str


@dataclass(slots=True, frozen=True)
class RenameFolder(Command):
    """RENF folder new-name."""

    folder: str
    to: str


@dataclass(slots=True, frozen=True)
class MoveFolder(Command):
    """MOVF folder parent: the folder goes below another one; an empty parent is the top."""

    folder: str
    parent: str


@dataclass(slots=True, frozen=True)
class CopyMessages(Command):
    """COPY first[-last] folder."""

    first: int
    last: int
    folder: str


@dataclass(slots=True, frozen=True)
class MoveMessages(Command):
    """MOVE first[-last] folder."""

    first: int
    last: int
    folder: str


@dataclass(slots=True, frozen=True)
class StoreMessage(Command):
    """STOR [folder]: a message for a folder, the selected one unless it is named."""

    folder: str | None


@dataclass(slots=True, frozen=True)
class Flag(Command):
    """FLAG number [+flag | -flag]...: (whether to set it, flag)."""

    number: int
    changes: tuple[tuple[bool, str], ...] = ()


@dataclass(slots=True, frozen=True)
class ListParts(Command):
    """PLST number."""

    number: int


@dataclass(slots=True, frozen=True)
class GetPart(Command):
    """PART number section: part numbers as IMAP has them (RFC 3501 §6.4.5)."""

    number: int
    part: tuple[int, ...]


def _take_name(argument: bytes) -> tuple[str, bytes]:
    """A name, and what follows it and a space."""
    found = _NAME.match(argument)
    if found is None:
        raise ParseError("a folder's name is expected")
    octets = found[2] if found[1] is None else _ESCAPE.sub(rb"\1", found[1])
    rest = argument[found.end() :]
    if rest and not rest.startswith(b" "):
        raise ParseError("a space is expected")
    try:
        name = octets.decode()
    except UnicodeDecodeError as error:
        raise ParseError("not UTF-8") from error
    if _CONTROL.search(name):
        raise ParseError("a control character")
    return name, rest.lstrip(b" ")


def _one(make: Callable[[str], Command]) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        name, rest = _take_name(argument)
        if rest or not name:
            raise ParseError("one name is expected")
        return make(name)

    return parse


def _two(make: Callable[[str, str], Command]) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        name, rest = _take_name(argument)
        other, rest = _take_name(rest)
        if rest or not name:
            raise ParseError("two names are expected")
        return make(name, other)

    return parse


def _range(make: Callable[[int, int, str], Command]) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        numbers, _, rest = argument.partition(b" ")
        low, dash, high = numbers.partition(b"-")
        first = parse_number(low)
        last = parse_number(high) if dash else first
        name, rest = _take_name(rest)
        if rest or not name or not 1 <= first <= last:
            raise ParseError("first[-last] and one name are expected")
        return make(first, last, name)

    return parse


def _parse_store(argument: bytes) -> Command:
    if not argument.strip(b" "):
        return StoreMessage(None)
    return _one(StoreMessage)(argument)


def _parse_flag(argument: bytes) -> Command:
    words = argument.split()
    if not words or len(words) > 1 + MAX_FLAGS:
        raise ParseError("a message number is expected")
    changes: list[tuple[bool, str]] = []
    for word in words[1:]:
        found = _FLAG.fullmatch(word)
        if found is None:
            raise ParseError("+flag or -flag is expected")
        changes.append((found[1] == b"+", found[2].decode("ascii")))
    return Flag(parse_number(words[0]), tuple(changes))


def _parse_part(argument: bytes) -> Command:
    words = argument.split()
    if len(words) != 2 or _SECTION.fullmatch(words[1]) is None:
        raise ParseError("a message number and a part are expected")
    return GetPart(parse_number(words[0]), tuple(map(int, words[1].split(b"."))))


def write_name(name: str) -> bytes:
    """A folder's name as an argument."""
    octets = name.encode()
    if octets and b" " not in octets and b'"' not in octets:
        return octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _write_folder(command: SelectFolder | CreateFolder | DeleteFolder | StoreMessage) -> bytes:
    return b"" if command.folder is None else b" " + write_name(command.folder)


def _write_range(command: CopyMessages | MoveMessages) -> bytes:
    last = b"" if command.first == command.last else b"-%d" % command.last
    return b" %d%b " % (command.first, last) + write_name(command.folder)


def _write_flag(command: Flag) -> bytes:
    words = [("+" if wanted else "-") + name for wanted, name in command.changes]
    return b" " + " ".join([str(command.number), *words]).encode("ascii")


def _capability(offers: Offers) -> str | None:
    return CAPABILITY if Profile.FOLDERS in offers.profiles else None


_THERE: Final = State.TRANSACTION
_OURS: Final = Profile.FOLDERS

ROWS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(b"LFLD", ListFolders, bare(ListFolders()), nothing, _THERE, _capability, body, _OURS),
    CommandSpec(b"SFLD", SelectFolder, _one(SelectFolder), _write_folder, _THERE, profile=_OURS),
    CommandSpec(b"CFLD", CreateFolder, _one(CreateFolder), _write_folder, _THERE, profile=_OURS),
    CommandSpec(b"DFLD", DeleteFolder, _one(DeleteFolder), _write_folder, _THERE, profile=_OURS),
    CommandSpec(
        b"RENF",
        RenameFolder,
        _two(RenameFolder),
        lambda command: b" " + write_name(command.folder) + b" " + write_name(command.to),
        _THERE,
        profile=_OURS,
    ),
    CommandSpec(
        b"MOVF",
        MoveFolder,
        _two(MoveFolder),
        lambda command: b" " + write_name(command.folder) + b" " + write_name(command.parent),
        _THERE,
        profile=_OURS,
    ),
    CommandSpec(b"COPY", CopyMessages, _range(CopyMessages), _write_range, _THERE, profile=_OURS),
    CommandSpec(b"MOVE", MoveMessages, _range(MoveMessages), _write_range, _THERE, profile=_OURS),
    CommandSpec(b"STOR", StoreMessage, _parse_store, _write_folder, _THERE, profile=_OURS),
    CommandSpec(b"FLAG", Flag, _parse_flag, _write_flag, _THERE, profile=_OURS),
    CommandSpec(b"PLST", ListParts, number(ListParts), its_number, _THERE, shape=listing, profile=_OURS),
    CommandSpec(
        b"PART",
        GetPart,
        _parse_part,
        lambda command: b" %d " % command.number + ".".join(map(str, command.part)).encode("ascii"),
        _THERE,
        shape=body,
        profile=_OURS,
    ),
)
