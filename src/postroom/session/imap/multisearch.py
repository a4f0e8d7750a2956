"""ESEARCH (RFC 7377): a search of several mailboxes, told by UIDs, mailbox after mailbox.

Invariants: a mailbox that is not there, or cannot hold messages, is passed over; each is searched once, however often it is
meant. What is selected stays selected, and is searched as the client knows it.

It must not know: how a mailbox is searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroom.model.errors import NoSuchMailbox
from postroom.model.ids import AccountId, MailboxId
from postroom.model.mailbox import INBOX, SEPARATOR, Mailbox
from postroom.model.uidset import UidSet
from postroom.session.imap.names import canonical
from postroom.session.imap.search import (
    extended,
    find,
    mentions_modseq,
    mentions_numbers,
    save,
    translate,
)
from postroom.session.imap.view import BadSequence
from postroom.wire.imap.commands import MultiSearch
from postroom.wire.imap.events import Request
from postroom.wire.imap.scope import Scope, ScopeKind
from postroom.wire.imap.search import SearchReturn
from postroom.wire.imap.values.sequence import SequenceSet

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession

_FLUSH_AT: Final = 1 << 18
SELECTED: Final = (Scope(ScopeKind.SELECTED),)


@dataclass(slots=True)
class Unselected:
    """A mailbox of which the client has no picture, as search keys ask about it."""

    account: AccountId
    mailbox: MailboxId
    last: int
    recent: UidSet

    def resolve(self, numbers: SequenceSet, *, uid: bool) -> UidSet:
        """UIDs alone. Raises BadSequence for numbers and for ``$``."""
        if not uid or numbers.saved:
            raise BadSequence
        return numbers.resolve(self.last)


async def multi_search(session: ImapSession, request: Request) -> None:
    """ESEARCH."""
    command = request.command
    assert isinstance(command, MultiSearch)
    scopes = command.scopes or SELECTED
    selected = any(scope.kind is ScopeKind.SELECTED for scope in scopes)
    saves = command.returns is not None and bool(command.returns & SearchReturn.SAVE)
    if selected and session.view is None:
        session.bad(request, "No mailbox is selected")
        return
    if saves and (not selected or len(scopes) > 1):
        session.bad(request, "SAVE goes with the selected mailbox alone")
        return
    if mentions_numbers(command.key) and (not selected or len(scopes) > 1):
        session.bad(request, "Message numbers mean the selected mailbox alone")
        return
    if session.utf8_accept and command.charset is not None:
        session.bad(request, "CHARSET has no place where UTF-8 is enabled")  # RFC 6855 §3
        return
    session.sync.with_uid = True
    if mentions_modseq(command.key):
        session.sync.enable_condstore()
    for mailbox in meant(session, scopes):
        view = session.view
        if view is not None and (view.account, view.mailbox) == (session.account_id, mailbox.id):
            uids = await find(session, view, command.key, save=saves)
            if saves:
                save(view, command, uids)
            if uids and command.returns != SearchReturn.SAVE:
                session.send(await extended(session, view, request, uids, uids, mailbox))
        else:
            await _search(session, request, mailbox)
        await session.relieve(_FLUSH_AT)
    await session.finish(request, "ESEARCH completed")


async def _search(session: ImapSession, request: Request, mailbox: Mailbox) -> None:
    command = request.command
    assert isinstance(command, MultiSearch)
    store, account = session.store, session.account_id
    try:
        held = store.uids(account, mailbox.id)
        place = Unselected(account, mailbox.id, held[-1] if held else 0, UidSet())
        now, _ = session.services.clock()
        uids = await store.search(account, mailbox.id, translate(command.key, place, now))
        if uids:
            session.send(await extended(session, place, request, uids, uids, mailbox))
    except NoSuchMailbox:
        return  # it went meanwhile


def meant(session: ImapSession, scopes: tuple[Scope, ...]) -> Iterator[Mailbox]:
    """The mailboxes that are meant, each once, those that hold messages."""
    every = {mailbox.name: mailbox for mailbox in session.store.mailboxes(session.account_id)}
    seen: set[MailboxId] = set()
    for scope in scopes:
        for mailbox in _of_scope(session, scope, every):
            if mailbox.selectable and mailbox.id not in seen:
                seen.add(mailbox.id)
                yield mailbox


def _of_scope(session: ImapSession, scope: Scope, every: dict[str, Mailbox]) -> Iterator[Mailbox]:
    match scope.kind:
        case ScopeKind.SELECTED:
            view = session.view
            assert view is not None
            yield from (mailbox for mailbox in every.values() if mailbox.id == view.mailbox)
        case ScopeKind.INBOXES:
            yield every[INBOX]
        case ScopeKind.PERSONAL:
            yield from every.values()
        case ScopeKind.SUBSCRIBED:
            yield from (mailbox for mailbox in every.values() if mailbox.subscribed)
        case ScopeKind.MAILBOXES:
            yield from (every[name] for name in map(canonical, scope.names) if name in every)
        case ScopeKind.SUBTREE | ScopeKind.SUBTREE_ONE:
            for name in map(canonical, scope.names):
                yield from _below(name, every, deep=scope.kind is ScopeKind.SUBTREE)


def _below(name: str, every: dict[str, Mailbox], *, deep: bool) -> Iterator[Mailbox]:
    """The mailbox and those below it, all or one level."""
    prefix = name + SEPARATOR
    for each, mailbox in every.items():
        if each == name or (each.startswith(prefix) and (deep or SEPARATOR not in each[len(prefix) :])):
            yield mailbox
