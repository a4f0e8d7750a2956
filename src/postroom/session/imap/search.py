"""SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5032, RFC 5182, RFC 7162 §3.1.5, RFC 9394): keys become the store's criteria, UIDs
become answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from postroom.model import search as criteria
from postroom.model.ids import AccountId, MailboxId, Modseq
from postroom.model.mailbox import Mailbox
from postroom.model.uidset import UidSet
from postroom.session.imap.objectid import message_named
from postroom.store.api import Column
from postroom.wire.imap.commands import MultiSearch, Search, Sort
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import EsearchData, SearchData
from postroom.wire.imap.search import (
    AllOf,
    Either,
    Negated,
    Numbers,
    ObjectIs,
    Recent,
    SearchKey,
    SearchReturn,
    UidNumbers,
    Within,
)
from postroom.wire.imap.values.partial import PartialRange
from postroom.wire.imap.values.sequence import SequenceSet

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View


_PIECE: Final = 20_000
"""Numbers written at a time."""
_FLUSH_AT: Final = 1 << 18


class Place(Protocol):
    """What keys and answers need to know of a mailbox: the view of the selected one, or less."""

    @property
    def account(self) -> AccountId:
        """Whose it is."""

    @property
    def mailbox(self) -> MailboxId:
        """Which one."""

    @property
    def recent(self) -> UidSet:
        """What is \\Recent in this session."""

    def resolve(self, numbers: SequenceSet, *, uid: bool) -> UidSet:
        """The UIDs meant by a set. Raises BadSequence."""


async def search(session: ImapSession, request: Request) -> None:
    """SEARCH and UID SEARCH."""
    command = request.command
    assert isinstance(command, Search)
    view = session.view
    assert view is not None
    session.sync.with_uid = command.uid
    about_modseq = mentions_modseq(command.key)
    if about_modseq:
        session.sync.enable_condstore()
    if session.utf8_accept and command.charset is not None:
        session.bad(request, "CHARSET has no place where UTF-8 is enabled")  # RFC 6855 §3
        return
    saves = command.returns is not None and bool(command.returns & SearchReturn.SAVE)
    uids = await find(session, view, command.key, save=saves)
    if saves:
        save(view, command, uids)
        if command.returns == SearchReturn.SAVE:
            await session.finish(request, "SEARCH completed")
            return
    numbers = uids if command.uid else view.numbers(uids)
    if command.returns is None and not session.rev2:
        modseq = await _highest(session, view, UidSet.of(uids)) if about_modseq and uids else None
        await _send_all(session, numbers, modseq)
    else:
        session.send(await extended(session, view, request, uids, numbers))
    await session.finish(request, "SEARCH completed")


async def find(session: ImapSession, view: View, key: SearchKey, *, save: bool = False) -> Sequence[int]:
    """The UIDs that a key finds, rising; with ``save`` the result of another search is forgotten. Raises BadSequence."""
    now, _ = session.services.clock()
    criterion = translate(key, view, now)
    if save:
        view.saved = UidSet()  # what remains when this fails (RFC 5182 §2.1)
    # What came after the last report has no number yet, and what is to be reported as gone is gone.
    return view.known(await session.store.search(view.account, view.mailbox, criterion))


async def _send_all(session: ImapSession, numbers: Sequence[int], modseq: Modseq | None) -> None:
    """SEARCH with every number: a long list is written in pieces."""
    if len(numbers) <= _PIECE:
        session.send(SearchData(tuple(numbers), modseq))
        return
    session.engine.write(b"* SEARCH")
    for first in range(0, len(numbers), _PIECE):
        session.engine.write((" " + " ".join(map(str, numbers[first : first + _PIECE]))).encode("ascii"))
        await session.relieve(_FLUSH_AT)
    session.engine.write(b"\r\n" if modseq is None else b" (MODSEQ %d)\r\n" % modseq)


async def extended(
    session: ImapSession,
    view: Place,
    request: Request,
    uids: Sequence[int],
    numbers: Sequence[int],
    mailbox: Mailbox | None = None,
) -> EsearchData:
    """What RETURN asks for; ``mailbox`` where it has to be told which one it is about (RFC 7377 §2.1)."""
    command = request.command
    assert isinstance(command, Search | MultiSearch)
    wanted, partial = command.returns or SearchReturn.ALL, command.partial
    modseq = None
    if uids and mentions_modseq(command.key):
        relevant = UidSet.of(uids)
        if not wanted & (SearchReturn.ALL | SearchReturn.COUNT):
            # RFC 7162 §3.1.5: of MIN and MAX alone the modseq concerns just those messages.
            ends = [] if partial is None else list(_partial(partial, uids))
            ends += [uids[0]] if wanted & SearchReturn.MIN else []
            relevant = UidSet.of(ends + ([uids[-1]] if wanted & SearchReturn.MAX else []))
        modseq = await _highest(session, view, relevant)
    return EsearchData(
        request.tag,
        isinstance(command, MultiSearch) or command.uid,
        min=numbers[0] if numbers and wanted & SearchReturn.MIN else None,
        max=numbers[-1] if numbers and wanted & SearchReturn.MAX else None,
        all=_set_of(numbers) if numbers and wanted & SearchReturn.ALL else None,
        count=len(numbers) if wanted & SearchReturn.COUNT else None,
        modseq=modseq,
        partial=None if partial is None else (partial.text, UidSet.of(_partial(partial, numbers))),
        mailbox=None if mailbox is None else mailbox.name,
        uid_validity=None if mailbox is None else mailbox.uid_validity,
    )


def _partial(partial: PartialRange, found: Sequence[int]) -> Sequence[int]:
    begin, end = partial.slice(len(found))
    return found[begin:end]


def save(view: View, command: Search | MultiSearch | Sort, uids: Sequence[int]) -> None:
    """Let ``$`` be what was found, given in the order it is told: all of it, or where only some of it is told, that (RFC 5182
    §2.4, RFC 9394 §3.2)."""
    returns = command.returns or SearchReturn.ALL
    few = SearchReturn.MIN | SearchReturn.MAX | SearchReturn.PARTIAL
    if not returns & few or returns & (SearchReturn.ALL | SearchReturn.COUNT):
        view.saved = UidSet.of(uids)
        return
    told = list(_partial(command.partial, uids)) if command.partial is not None else []
    if uids and returns & SearchReturn.MIN:
        told.append(uids[0])
    if uids and returns & SearchReturn.MAX:
        told.append(uids[-1])
    view.saved = UidSet.of(told)


def _set_of(rising: Sequence[int]) -> UidSet:
    if rising[-1] - rising[0] == len(rising) - 1:
        return UidSet([(rising[0], rising[-1])])
    return UidSet.of(rising)


async def _highest(session: ImapSession, view: Place, uids: UidSet) -> Modseq | None:
    highest = 0
    for batch in session.store.fetch(view.account, view.mailbox, uids, (Column.MODSEQ,)):
        highest = max(highest, max((row[0] for row in batch), default=0))
        await session.relieve(_FLUSH_AT)
    return Modseq(highest) if highest else None


def mentions_modseq(key: SearchKey) -> bool:
    """Whether MODSEQ occurs in the key."""
    return any(isinstance(leaf, criteria.ModseqAtLeast) for leaf in _leaves(key))


def mentions_numbers(key: SearchKey) -> bool:
    """Whether message numbers occur in the key."""
    return any(isinstance(leaf, Numbers) and not leaf.numbers.saved for leaf in _leaves(key))


def _leaves(key: SearchKey) -> Iterator[SearchKey]:
    """All keys without keys of their own; iterative, as keys may be nested."""
    waiting = [key]
    while waiting:
        match waiting.pop():
            case AllOf(keys):
                waiting.extend(keys)
            case Either(left, right):
                waiting += (left, right)
            case Negated(inner):
                waiting.append(inner)
            case leaf:
                yield leaf


def translate(key: SearchKey, view: Place, now: int) -> criteria.Criterion:
    """The store's criterion for a key. Raises BadSequence for sequence numbers that are not there.

    The grammar bounds the depth, so recursion is safe here.
    """
    match key:
        case Numbers(numbers):
            return criteria.Uids(view.resolve(numbers, uid=False))
        case UidNumbers(uids):
            return criteria.Uids(view.resolve(uids, uid=True))
        case Recent():
            return criteria.Uids(view.recent)
        case Within(seconds, older):
            if older:
                # RFC 5032 §2.1: OLDER includes what is exactly that old.
                return criteria.InternalDate(before=now - seconds + 1)
            return criteria.InternalDate(since=now - seconds)
        case ObjectIs(identifier, thread):
            return criteria.Not(criteria.All()) if thread else message_named(view.account, identifier)
        case AllOf(keys):
            return criteria.And(tuple(translate(one, view, now) for one in keys))
        case Either(left, right):
            return criteria.Or((translate(left, view, now), translate(right, view, now)))
        case Negated(inner):
            return criteria.Not(translate(inner, view, now))
        case _:
            return key
