"""Messages for sessions that did not ask for UTF8: headers in UTF-8 are shown in ASCII (RFC 6856 §2.1, RFC 6857).

Invariants:
- Only headers that hold UTF-8 beyond ASCII change, those of parts too; bodies never do, and neither do headers in some other
  8-bit character set, which are no internationalised mail and have always been sent as they are.
- Once LIST or RETR has told a size, RETR sends as many octets (RFC 6856 §2.1). What was found out about a maildrop is kept: a
  message is looked at once in its life, not once in each session.
- A message that cannot be shown without UTF8 answers -ERR [UTF8] (RFC 6856 §5).

It must not know: commands, where what was found out is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from postroom.mime.downgrade import downgrade_header, header_ranges
from postroom.mime.structure import load_structure
from postroom.model.account import Account
from postroom.model.errors import Corrupt, NoSuchMailbox, NoSuchMessage, PostroomError
from postroom.model.ids import AccountId, UidValidity
from postroom.model.message import Octets
from postroom.model.uidset import UidSet
from postroom.session.maildrop import Maildrop, Turn
from postroom.store.api import Column, MailStore

_AT_ONCE: Final = 1 << 17
"""Octets of a message up to which it is read as a whole: most mail is ASCII throughout, which is found out at C speed."""
_LARGEST_HEADER: Final = 1 << 20
"""Octets of a header that can be rewritten."""

Change = tuple[int, int, bytes]
"""First octet, the one behind the last, and what takes their place."""


class NeedsUtf8(PostroomError):
    """The message cannot be shown without UTF8."""

    default_public = "This message cannot be shown without UTF8"


@dataclass(slots=True)
class Measure:
    """What is known of a maildrop: every message below ``below`` was looked at; ``sizes`` has, by UID, those that are not
    simply sent as they are."""

    below: int = 1
    sizes: dict[int, int] = field(default_factory=dict)


class Measures(Protocol):
    """Keeps measures; losing one costs time only. Used by the holder of the maildrop's lock alone."""

    def load(self, account: AccountId, uid_validity: UidValidity) -> Measure:
        """What was saved for this UIDVALIDITY, or an empty one."""

    def save(self, account: AccountId, uid_validity: UidValidity, measure: Measure) -> None:
        """Keep it; never raises."""


class MeasuresHere:
    """In memory."""

    def __init__(self) -> None:
        self._kept: dict[tuple[AccountId, UidValidity], Measure] = {}

    def load(self, account: AccountId, uid_validity: UidValidity) -> Measure:
        """What was saved for this UIDVALIDITY, or an empty one."""
        return self._kept.get((account, uid_validity)) or Measure()

    def save(self, account: AccountId, uid_validity: UidValidity, measure: Measure) -> None:
        """Keep it."""
        self._kept[account, uid_validity] = measure


class Surrogate:
    """A message with some of its octets replaced. Implements ``model.message.Octets``."""

    def __init__(self, octets: Octets, changes: Sequence[Change]) -> None:
        """``changes`` in rising order, apart from each other."""
        self._octets = octets
        self._starts: list[int] = []
        self._pieces: list[int | bytes] = []
        at = source = 0
        for start, end, block in changes:
            for piece, length in ((source, start - source), (block, len(block))):
                if length:
                    self._starts.append(at)
                    self._pieces.append(piece)
                    at += length
            source = end
        self._starts.append(at)
        self._pieces.append(source)
        self.size = at + octets.size - source

    async def read(self, offset: int, length: int) -> bytes:
        """Octets from ``offset``, fewer than ``length`` only at the end. Raises Corrupt, Unavailable."""
        found: list[bytes] = []
        while length > 0 and offset < self.size:
            octets = await self._piece(offset, length)
            if not octets:
                break
            found.append(octets)
            offset += len(octets)
            length -= len(octets)
        return b"".join(found)

    async def _piece(self, offset: int, length: int) -> bytes:
        index = bisect_right(self._starts, offset) - 1
        piece, within = self._pieces[index], offset - self._starts[index]
        if isinstance(piece, bytes):
            return piece[within : within + length]
        if index + 1 < len(self._starts):
            length = min(length, self._starts[index + 1] - offset)
        return await _read(self._octets, piece + within, length)


class Surrogates:
    """A maildrop's messages as readers of ASCII get them."""

    def __init__(self, store: MailStore, account: Account, maildrop: Maildrop, measures: Measures) -> None:
        self._store = store
        self._account = account
        self._maildrop = maildrop
        self._measures = measures
        self._validity = maildrop.inbox.uid_validity
        self._measure = measures.load(account.id, self._validity)

    async def message(self, number: int) -> Octets:
        """The message, or what stands for it. Raises NoSuchMessage, NeedsUtf8, Corrupt, Unavailable."""
        octets = await self._maildrop.message(number)
        uid = (await self._maildrop.read())[number - 1]
        if uid < self._measure.below and uid not in self._measure.sizes:
            return octets
        shown = await self._shown(uid, octets)
        self._maildrop.resize(number, shown.size)
        return shown

    async def size(self, number: int) -> int:
        """Octets that RETR sends; of a message that cannot be read, those there were at the login. Raises NoSuchMessage,
        Unavailable."""
        index = await self._maildrop.index(number)
        uid = (await self._maildrop.read())[index]
        if uid in self._measure.sizes:
            self._maildrop.resize(number, self._measure.sizes[uid])
        elif uid >= self._measure.below:
            with suppress(NoSuchMessage, NeedsUtf8, Corrupt):
                await self.message(number)
        return await self._maildrop.size(number)

    async def measure(self) -> None:
        """Find out the sizes of all messages, as far as they are not known. Raises Unavailable."""
        measure, uids = self._measure, await self._maildrop.read()
        first = bisect_right(uids, measure.below - 1)
        if first < len(uids):
            # Also what this session does not show: the measure is INBOX's.
            await self._look_at(UidSet([(measure.below, self._maildrop.inbox.uid_next - 1)]))
            measure.below = self._maildrop.inbox.uid_next
            self._measures.save(self._account.id, self._validity, measure)
        for uid, size in measure.sizes.items():
            index = bisect_right(uids, uid) - 1
            if index >= 0 and uids[index] == uid:
                self._maildrop.resize(index + 1, size)

    async def _look_at(self, uids: UidSet) -> None:
        try:
            for batch in self._store.fetch(
                self._account.id, self._maildrop.inbox.id, uids, (Column.UID, Column.OCTETS)
            ):
                for uid, octets in batch:
                    try:
                        shown = await self._shown(uid, octets)
                    except (Corrupt, NeedsUtf8):
                        # RETR looks at it again, and says so.
                        self._measure.sizes[uid] = octets.size
                        continue
                    if shown is not octets:
                        self._measure.sizes[uid] = shown.size
                await Turn()
        except NoSuchMailbox:
            return  # and no message can be retrieved

    async def _shown(self, uid: int, octets: Octets) -> Octets:
        if octets.size <= _AT_ONCE and (await _read(octets, 0, octets.size)).isascii():
            return octets
        changes = []
        for start, end in await self._headers(uid):
            block = await _read(octets, start, min(end - start, _LARGEST_HEADER + 1))
            if block.isascii() or not _is_utf8(block):
                continue
            if len(block) > _LARGEST_HEADER:
                raise NeedsUtf8
            changes.append((start, end, downgrade_header(block)))
        return Surrogate(octets, changes) if changes else octets

    async def _headers(self, uid: int) -> list[tuple[int, int]]:
        for batch in self._store.fetch(
            self._account.id, self._maildrop.inbox.id, UidSet.of((uid,)), (Column.STRUCTURE,)
        ):
            for row in batch:
                return list(header_ranges(load_structure(row[0])))
        return []


async def _read(octets: Octets, offset: int, length: int) -> bytes:
    found = octets.read(offset, length)
    return found if isinstance(found, bytes) else await found


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError as error:
        # A block that was cut may end within a character.
        return error.end == len(block) and len(block) > _LARGEST_HEADER
    return True
