"""Which handler does which command: each family of commands is a module that says so in HANDLERS; a new one is added here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroom.session.pop3 import (
    apop,
    authorization,
    basics,
    folders,
    international,
    legacy,
    sdps,
    transaction,
    xmit,
)

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers

HANDLERS: Final[Handlers] = {
    **basics.HANDLERS,
    **authorization.HANDLERS,
    **apop.HANDLERS,
    **transaction.HANDLERS,
    **international.HANDLERS,
    **legacy.HANDLERS,
    **sdps.HANDLERS,
    **xmit.HANDLERS,
    **folders.HANDLERS,
}
