"""UTF8 and LANG (RFC 6856).

Invariants: UTF8 is asked for before the login and counts from then on; LANG changes texts, never codes.

It must not know: how messages are made fit for readers of ASCII (``surrogates`` does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroom.wire.pop3.catalogue import LANGUAGES, Phrase, choose
from postroom.wire.pop3.international import Lang, Utf8
from postroom.wire.pop3.replies import Err, Listing, Ok

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session


async def utf8(session: Pop3Session, _command: Utf8) -> None:
    """UTF8: messages are sent as they are."""
    session.utf8 = True
    session.engine.send(Ok("UTF-8 from here on"))


async def lang(session: Pop3Session, command: Lang) -> None:
    """LANG; without an argument the listing."""
    if command.range is None:
        lines = "".join(f"{tag} {name}\r\n" for tag, name in LANGUAGES.items())
        session.engine.send(Listing("Languages follow", lines.encode()))
        return
    tag = choose(command.range, session.language)
    if tag is None:
        session.engine.send(Err("No such language"))
        return
    session.engine.language = tag
    session.engine.send(Ok(Phrase("{} Language changed", tag)))


HANDLERS: Final[Handlers] = {Utf8: utf8, Lang: lang}
