"""SORT and THREAD (RFC 5256, RFC 5957, RFC 5267 §3): a search whose result is put in order, or in threads."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from postroom.model.uidset import UidSet
from postroom.session.imap.ordering import Ancestry, Result, Value, subject_says_reply
from postroom.session.imap.search import find, mentions_modseq, save
from postroom.session.imap.threads import Members, by_references, ordered_subject
from postroom.store.api import Column
from postroom.wire.imap.commands import Sort, Thread
from postroom.wire.imap.events import Request
from postroom.wire.imap.ext.sort import write_sort_data
from postroom.wire.imap.ext.thread import write_members
from postroom.wire.imap.responses import EsearchData, SortData
from postroom.wire.imap.search import SearchReturn
from postroom.wire.imap.sort import SortCriterion, SortKey, ThreadAlgorithm

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View

_PIECE: Final = 20_000
"""Numbers written at a time."""
_FLUSH_AT: Final = 1 << 18
_VALUES: Final = {key: Value[key.name] for key in SortKey}


async def sort(session: ImapSession, request: Request) -> None:
    """SORT and UID SORT."""
    command = request.command
    assert isinstance(command, Sort)
    view = session.view
    assert view is not None
    session.sync.with_uid = command.uid
    if mentions_modseq(command.key):
        session.sync.enable_condstore()
    uids = await find(session, view, command.key, save=_saves(command))
    result = await _ordered(session, view, command.criteria, uids)
    ordered: Sequence[int] = result.made
    if _saves(command):
        save(view, command, ordered)
    if command.returns == SearchReturn.SAVE:
        await session.finish(request, "SORT completed")
        return
    of_uids = uids if command.uid else view.numbers(uids)
    if command.returns is None and result.told and result.numbers == of_uids:
        session.engine.write(result.told)
        await session.relieve(_FLUSH_AT)
    else:
        if command.uid:
            numbers = ordered
        else:
            place = dict(zip(uids, of_uids, strict=True))
            numbers = [place[uid] for uid in ordered]
        if command.returns is None:
            result.numbers = of_uids
            result.told = await _send_all(session, numbers)
        else:
            session.send(_extended(command, request.tag, numbers))
    await session.finish(request, "SORT completed")


def _saves(command: Sort) -> bool:
    return command.returns is not None and bool(command.returns & SearchReturn.SAVE)


async def _ordered(
    session: ImapSession, view: View, criteria: tuple[SortCriterion, ...], uids: Sequence[int]
) -> Result:
    """Most programs sort the same mailbox again and again: what was made before is made once."""
    orderings, given = session.services.orderings, array("I", uids)
    result = orderings.result(view, criteria, given)
    if result is None:
        result = Result(given, await _in_order(session, view, criteria, uids))
        orderings.keep(view, criteria, result)
    return result


async def _in_order(
    session: ImapSession, view: View, criteria: Sequence[SortCriterion], uids: Sequence[int]
) -> Sequence[int]:
    """UIDs sorted by all criteria, then by number: the least important criterion is applied first, and sorting keeps the order
    of what is equal."""
    ordered = list(uids)
    for criterion in reversed(criteria):
        values = await session.services.orderings.values(session, view, _VALUES[criterion.key], uids)
        # A message may have gone while values were read: it is told as gone afterwards, and has no place.
        if len(values) < len(ordered) or any(uid not in values for uid in ordered):
            ordered = [uid for uid in ordered if uid in values]
        ordered.sort(key=values.__getitem__, reverse=criterion.reverse)
    return ordered


async def _send_all(session: ImapSession, numbers: Sequence[int]) -> bytes:
    """Returns what was sent, where it is not too long to be kept."""
    if len(numbers) <= _PIECE:
        told = b"* " + write_sort_data(SortData(tuple(numbers))) + b"\r\n"
        session.engine.write(told)
        return told
    session.engine.write(b"* SORT")
    for first in range(0, len(numbers), _PIECE):
        session.engine.write((" " + " ".join(map(str, numbers[first : first + _PIECE]))).encode("ascii"))
        await session.relieve(_FLUSH_AT)
    session.engine.write(b"\r\n")
    return b""


def _extended(command: Sort, tag: bytes, numbers: Sequence[int]) -> EsearchData:
    """MIN and MAX are the first and the last of the order (RFC 5267 §3)."""
    wanted, partial = command.returns or SearchReturn.ALL, command.partial
    shown = None
    if partial is not None:
        begin, end = partial.slice(len(numbers))
        shown = (partial.text, _told(numbers[begin:end]))
    told = _told(numbers) if numbers and wanted & SearchReturn.ALL else None
    return EsearchData(
        tag,
        command.uid,
        min=numbers[0] if numbers and wanted & SearchReturn.MIN else None,
        max=numbers[-1] if numbers and wanted & SearchReturn.MAX else None,
        all=told if isinstance(told, UidSet) else None,
        count=len(numbers) if wanted & SearchReturn.COUNT else None,
        partial=shown,
        order=told if isinstance(told, tuple) else None,
    )


def _told(numbers: Sequence[int]) -> UidSet | tuple[int, ...]:
    """A set where the order is that of the numbers."""
    rising = all(left < right for left, right in pairwise(numbers))
    return UidSet.of(numbers) if rising else tuple(numbers)


async def thread(session: ImapSession, request: Request) -> None:
    """THREAD and UID THREAD."""
    command = request.command
    assert isinstance(command, Thread)
    view = session.view
    assert view is not None
    session.sync.with_uid = command.uid
    if mentions_modseq(command.key):
        session.sync.enable_condstore()
    uids = await find(session, view, command.key)
    orderings, given = session.services.orderings, array("I", uids)
    result = orderings.result(view, command.algorithm, given)
    if result is None:
        known = await orderings.values(session, view, Value.ANCESTRY, uids)
        # A message may have gone while values were read.
        there = uids if all(uid in known for uid in uids) else [uid for uid in uids if uid in known]
        members = _threads(session, view, command.algorithm, there, [known[uid] for uid in there])
        result = Result(array("I", there), members)
        orderings.keep(view, command.algorithm, result)
    numbers = result.uids if command.uid else view.numbers(result.uids)
    if result.told and result.numbers == numbers:
        session.engine.write(result.told)
        await session.relieve(_FLUSH_AT)
    else:
        result.numbers = numbers
        result.told = await _send_threads(session, result.made, numbers)
    await session.finish(request, "THREAD completed")


def _threads(
    session: ImapSession,
    view: View,
    algorithm: ThreadAlgorithm,
    uids: Sequence[int],
    known: Sequence[Ancestry],
) -> Members:
    ids, references, subjects, dates = zip(*known, strict=True) if known else ((), (), (), ())
    if algorithm is ThreadAlgorithm.ORDEREDSUBJECT:
        return ordered_subject(subjects, dates)
    return by_references(ids, references, subjects, dates, _Replies(session, view, uids))


class _Replies:
    """Whether messages are replies or forwards, by their original subjects. Only where threads meet is it asked."""

    def __init__(self, session: ImapSession, view: View, uids: Sequence[int]) -> None:
        self._session = session
        self._view = view
        self._uids = uids
        self._known: dict[int, bool] = {}

    def __call__(self, index: int) -> bool:
        known = self._known.get(index)
        if known is None:
            uid = UidSet.of((self._uids[index],))
            rows = [
                row
                for batch in self._session.store.fetch(
                    self._view.account, self._view.mailbox, uid, (Column.ENVELOPE,)
                )
                for row in batch
            ]
            known = self._known[index] = bool(rows) and subject_says_reply(rows[0][0])
        return known


async def _send_threads(session: ImapSession, members: Members, numbers: Sequence[int]) -> bytes:
    """A long list in pieces, each of whole threads. Returns what was sent, where it is not too long to be kept."""
    if len(members) <= _PIECE:
        told = b"* THREAD" + (b" " + _written(members, numbers) if members else b"") + b"\r\n"
        session.engine.write(told)
        return told
    session.engine.write(b"* THREAD ")
    begin = 0
    for place, (depth, _) in enumerate(members):
        if depth == 0 and place - begin >= _PIECE:
            session.engine.write(_written(members[begin:place], numbers))
            begin = place
            await session.relieve(_FLUSH_AT)
    session.engine.write(_written(members[begin:], numbers) + b"\r\n")
    return b""


def _written(members: Members, numbers: Sequence[int]) -> bytes:
    numbered = [(depth, numbers[place - 1] if place else 0) for depth, place in members]
    return "".join(write_members(numbered)).encode("ascii")
