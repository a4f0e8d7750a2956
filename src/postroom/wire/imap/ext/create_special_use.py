"""CREATE-SPECIAL-USE (RFC 6154 §3): the USE parameter of CREATE."""

from __future__ import annotations

from typing import Final

from postroom.model.mailbox import SpecialUse
from postroom.wire.cursor import Cursor
from postroom.wire.imap.values.atoms import ATOM
from postroom.wire.imap.writer import CommandText

CAPABILITIES: Final = ("CREATE-SPECIAL-USE",)
_USES: Final = {use.value.lower(): use for use in SpecialUse}


def parse_create_parameters(cursor: Cursor) -> tuple[SpecialUse | str, ...]:
    """[SP "(USE (" [use-attr *(SP use-attr)] "))"] (RFC 6154 §6); unknown attributes come back as given."""
    if not cursor.skip(b" ("):
        return ()
    if cursor.need(ATOM, "create parameter").upper() != b"USE":
        cursor.fail("unknown create parameter")
    cursor.expect(b" (")
    uses: dict[SpecialUse | str, None] = {}
    while not cursor.skip(b")"):
        cursor.expect(b"\\")
        name = "\\" + cursor.need(ATOM, "use attribute").decode("ascii")
        uses[_USES.get(name.lower(), name)] = None
        if cursor.peek() != 0x29:
            cursor.expect(b" ")
    cursor.expect(b")")
    return tuple(uses)


def write_create_parameters(text: CommandText, use: tuple[SpecialUse | str, ...]) -> None:
    """The counterpart; ``use`` is not empty."""
    text.text(b" (USE (" + " ".join(use).encode("ascii") + b"))")
