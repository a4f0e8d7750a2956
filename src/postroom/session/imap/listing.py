"""LIST, LSUB and STATUS (RFC 3501 §6.3.8 to §6.3.10, RFC 5258, RFC 5819, RFC 6154, RFC 3348)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from postroom.model.errors import NoSuchMailbox
from postroom.model.mailbox import INBOX, SEPARATOR, Mailbox
from postroom.session.imap.names import Pattern, canonical
from postroom.session.imap.objectid import mailbox_id
from postroom.session.imap.quota import deleted_storage
from postroom.store.mailbox_names import superior_names
from postroom.wire.imap.commands import List, ListReturn, ListSelect, Lsub, Status, StatusItem
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import ListData, StatusData

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession


_FLUSH_AT: Final = 1 << 16
_OPTION_WORDS: Final = {ListSelect.SUBSCRIBED: "SUBSCRIBED", ListSelect.SPECIAL_USE: "SPECIAL-USE"}


@dataclass(slots=True)
class _Name:
    """One name of the hierarchy: a mailbox, or None for a name that is only subscribed or only has inferiors.

    ``below`` are the inferior names that are subscribed or have a special use.
    """

    name: str
    mailbox: Mailbox | None
    subscribed: bool
    children: bool = False
    below: list[_Name] = field(default_factory=list)

    def selected(self, select: ListSelect) -> bool:
        """Whether it meets the selection options (RFC 5258 §3.1, RFC 6154 §2)."""
        if select & ListSelect.SUBSCRIBED and not self.subscribed:
            return False
        if select & ListSelect.SPECIAL_USE:
            return self.mailbox is not None and self.mailbox.special_use is not None
        return True


def _hierarchy(session: ImapSession) -> list[_Name]:
    """Every name: existing, subscribed, and those above them; INBOX first, the rest in order."""
    account = session.account_id
    names: dict[str, _Name] = {}
    for mailbox in session.store.mailboxes(account):
        names[mailbox.name] = _Name(mailbox.name, mailbox, mailbox.subscribed)
    for subscribed in session.store.subscriptions(account):
        names.setdefault(subscribed, _Name(subscribed, None, True)).subscribed = True
    for found in list(names.values()):
        marked = found.subscribed or (found.mailbox is not None and found.mailbox.special_use is not None)
        for above in superior_names(found.name):
            upper = names.setdefault(above, _Name(above, None, False))
            upper.children = upper.children or found.mailbox is not None
            if marked:
                upper.below.append(found)
    return sorted(names.values(), key=lambda one: (one.name != INBOX, one.name))


async def list_mailboxes(session: ImapSession, request: Request) -> None:
    """LIST."""
    command = request.command
    assert isinstance(command, List)
    if not command.extended and command.patterns == ("",):
        # RFC 3501 §6.3.8: an empty pattern asks for the separator and the root of the reference.
        session.send(ListData(("\\Noselect",), SEPARATOR, ""))
        await session.finish(request, "LIST completed")
        return
    if StatusItem.HIGHESTMODSEQ in command.status:
        session.sync.enable_condstore()
    patterns = [Pattern(command.reference, pattern) for pattern in command.patterns if pattern]

    def named(found: _Name) -> bool:
        return any(pattern.matches(found.name) for pattern in patterns)

    for found in _hierarchy(session):
        if not named(found):
            continue
        # Without selection by subscription, what does not exist is not there (RFC 5258 §3.1).
        selected = found.selected(command.select) and (
            found.mailbox is not None or bool(command.select & ListSelect.SUBSCRIBED)
        )
        childinfo = _child_info(found, command.select, selected, named)
        if not selected and childinfo is None:
            continue
        session.send(ListData(_attributes(found, command), SEPARATOR, found.name, childinfo))
        if command.status and found.mailbox is not None and found.mailbox.selectable:
            session.send(await _status(session, found.mailbox, command.status))
        if session.engine.output_size > _FLUSH_AT:
            await session.relieve()
    await session.finish(request, "LIST completed")


def _child_info(
    found: _Name, select: ListSelect, selected: bool, named: Callable[[_Name], bool]
) -> tuple[str, ...] | None:
    """CHILDINFO (RFC 5258 §3.5): some inferior name meets the selection options. A name that does not meet them itself is
    only shown for the sake of an inferior that is not shown."""
    if not select & ListSelect.RECURSIVEMATCH:
        return None
    inferiors = [one for one in found.below if one.selected(select)]
    if not inferiors or (not selected and all(named(one) for one in inferiors)):
        return None
    options = (ListSelect.SUBSCRIBED, ListSelect.SPECIAL_USE)
    return tuple(_OPTION_WORDS[option] for option in options if select & option)


def _attributes(found: _Name, command: List) -> tuple[str, ...]:
    mailbox = found.mailbox
    attributes: list[str] = []
    if mailbox is None:
        attributes.append("\\NonExistent")
    elif not mailbox.selectable:
        attributes.append("\\Noselect")
    attributes.append("\\HasChildren" if found.children else "\\HasNoChildren")
    if found.subscribed and (
        command.select & ListSelect.SUBSCRIBED or command.returns & ListReturn.SUBSCRIBED
    ):
        attributes.append("\\Subscribed")
    if mailbox is not None and mailbox.special_use is not None:
        attributes.append(str(mailbox.special_use))
    return tuple(attributes)


async def lsub(session: ImapSession, request: Request) -> None:
    """LSUB: with ``%`` a name above subscribed ones is shown as \\Noselect (RFC 3501 §6.3.9)."""
    command = request.command
    assert isinstance(command, Lsub)
    pattern = Pattern(command.reference, command.pattern)
    for found in _hierarchy(session):
        if not pattern.matches(found.name):
            continue
        if found.subscribed:
            selectable = found.mailbox is None or found.mailbox.selectable
            session.send(ListData(() if selectable else ("\\Noselect",), SEPARATOR, found.name, lsub=True))
        elif any(one.subscribed for one in found.below) and command.pattern.endswith("%"):
            session.send(ListData(("\\Noselect",), SEPARATOR, found.name, lsub=True))
    await session.finish(request, "LSUB completed")


async def status(session: ImapSession, request: Request) -> None:
    """STATUS, of the selected mailbox too."""
    command = request.command
    assert isinstance(command, Status)
    mailbox = session.store.mailbox(session.account_id, canonical(command.mailbox))
    if not mailbox.selectable:
        raise NoSuchMailbox("Mailbox cannot be selected")
    if StatusItem.HIGHESTMODSEQ in command.items:
        session.sync.enable_condstore()
    session.send(await _status(session, mailbox, command.items))
    await session.finish(request, "STATUS completed")


async def _status(session: ImapSession, mailbox: Mailbox, items: tuple[StatusItem, ...]) -> StatusData:
    values: list[tuple[StatusItem, int | str | None]] = []
    for item in items:
        if item is StatusItem.DELETED_STORAGE:
            values.append((item, await deleted_storage(session, mailbox)))
        else:
            values.append((item, _value(session, mailbox, item)))
    return StatusData(mailbox.name, tuple(values))


def _value(session: ImapSession, mailbox: Mailbox, item: StatusItem) -> int | str | None:
    match item:
        case StatusItem.MESSAGES:
            return mailbox.messages
        case StatusItem.RECENT:
            return _recent(session, mailbox)
        case StatusItem.UIDNEXT:
            return mailbox.uid_next
        case StatusItem.UIDVALIDITY:
            return mailbox.uid_validity
        case StatusItem.UNSEEN:
            return mailbox.unseen
        case StatusItem.HIGHESTMODSEQ:
            return mailbox.highest_modseq
        case StatusItem.APPENDLIMIT:
            return session.services.message_limit
        case StatusItem.SIZE:
            return mailbox.octets
        case StatusItem.MAILBOXID:
            return mailbox_id(session.account_id, mailbox.id)
        case StatusItem.DELETED:
            return mailbox.deleted
        case StatusItem.DELETED_STORAGE:
            raise AssertionError("asked of the store")


def _recent(session: ImapSession, mailbox: Mailbox) -> int:
    """In the selected mailbox what is \\Recent here, elsewhere what no session has been told of as \\Recent yet."""
    view = session.view
    if view is not None and view.mailbox == mailbox.id:
        return view.recent_count()
    if mailbox.recent_from >= mailbox.uid_next or not mailbox.messages:
        return 0
    if mailbox.recent_from <= 1:
        return mailbox.messages
    uids = session.store.uids(session.account_id, mailbox.id)
    return len(uids) - bisect_left(uids, mailbox.recent_from)
