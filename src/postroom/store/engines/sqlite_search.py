"""SEARCH in a shard: SQL finds the candidates, text is looked at only where SQL cannot decide.

Invariants:
- A large mailbox is scanned in a thread (SQLite releases the GIL there); text is decoded on the caller's thread in slices of
  bounded size, between which others get their turn: pure Python in a thread would hold everybody up longer, large messages apart.
- Every slice is a short read; nothing is held while waiting.

It must not know: event loops; what text means (``store.search`` says).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from postroom.mime.structure import load_structure
from postroom.model.errors import Corrupt, PostroomError
from postroom.model.ids import AccountId, MailboxId
from postroom.model.message import Octets
from postroom.model.search import Criterion
from postroom.store.api import Row
from postroom.store.blobs.files import RunInThread
from postroom.store.engines.sqlite_reader import ShardReader
from postroom.store.search import CandidateSource, MessageText, SearchPlan, matches, plan

INLINE_SCAN: Final = 2_000
"""Messages up to which a mailbox is scanned without a thread: well under a millisecond."""
_SLICE: Final = 8
"""Messages whose text is looked at in one go."""
_LARGE: Final = 128 * 1024
"""Octets from which a message's text is looked at in a thread after all: the interpreter then shares the time out."""

Candidates = Callable[[AccountId], CandidateSource | None]
"""The full-text index's help for an account, where there is one."""


@dataclass(slots=True)
class _Candidate:
    """An entry with its text at hand (the Message that ``matches`` asks)."""

    uid: int
    flags: int
    words: str
    modseq: int
    internal_date: int
    zone: int
    size: int
    message_id: int
    sent_day: int | None
    saved: int
    structure: bytes
    octets: bytes

    @property
    def keywords(self) -> tuple[str, ...]:
        return tuple(self.words.split())

    def text(self) -> MessageText:
        try:
            return MessageText(self.octets, load_structure(self.structure))
        except ValueError as error:
            raise Corrupt(private=f"structure of UID {self.uid}: {error}") from error


class ShardSearch:
    """Searches one shard; scan readers are made as threads need them and kept."""

    def __init__(self, reader: ShardReader, run: RunInThread, candidates: Candidates | None = None) -> None:
        self._reader = reader
        self._run = run
        self._candidates = candidates
        self._idle: list[ShardReader] = []

    def close(self) -> None:
        """Release the scan readers."""
        while self._idle:
            self._idle.pop().close()

    async def search(self, account: AccountId, mailbox: MailboxId, criterion: Criterion) -> array[int]:
        """UIDs that match, rising. Raises NoSuchMailbox, Unavailable, Corrupt."""
        messages = self._reader.mailbox_by_id(account, mailbox).messages
        found = plan(criterion, self._candidates(account) if self._candidates else None)
        if messages <= INLINE_SCAN:
            uids = self._scan(self._reader, account, mailbox, found)
        else:
            uids = await self._in_thread(lambda reader: self._scan(reader, account, mailbox, found))
        if found.exact:
            return uids
        return await self._verify(account, mailbox, criterion, uids)

    @staticmethod
    def _scan(reader: ShardReader, account: AccountId, mailbox: MailboxId, found: SearchPlan) -> array[int]:
        return array("I", reader.candidates(account, mailbox, found))

    async def _verify(
        self, account: AccountId, mailbox: MailboxId, criterion: Criterion, uids: array[int]
    ) -> array[int]:
        matching = array("I")
        for first in range(0, len(uids), _SLICE):
            wanted = uids[first : first + _SLICE]
            rows = await self._in_thread(partial(_texts, account, mailbox, wanted))
            for row in rows:
                values = (*row[:-1], await _whole(row[-1]))
                candidate = _Candidate(*values)
                if candidate.size <= _LARGE:
                    found = matches(criterion, candidate)
                else:
                    found = await self._run(partial(matches, criterion, candidate))
                if found:
                    matching.append(candidate.uid)
        return matching

    async def _in_thread(self, work: Callable[[ShardReader], Any]) -> Any:
        reader = self._idle.pop() if self._idle else self._reader.again()
        try:
            result = await self._run(lambda: work(reader))
        except PostroomError:
            self._idle.append(reader)
            raise
        except BaseException:
            # Cancelled: the thread may still be using it, so it is left to the thread and its end.
            raise
        self._idle.append(reader)
        return result


def _texts(account: AccountId, mailbox: MailboxId, uids: array[int], reader: ShardReader) -> list[Row]:
    return reader.texts(account, mailbox, uids)


async def _whole(octets: Octets) -> bytes:
    found = octets.read(0, octets.size)
    return found if isinstance(found, bytes) else await found
