"""Content with its references, and the messages of accounts; inside one transaction.

Invariants:
- Content lives while a message or a queued message refers to it, a message while an entry does. One reference is the rule and
  has no row in the share tables; more are counted there.
- A blob file is never removed here: other shards may refer to it, and the sweep removes it when none does.

It must not know: mailboxes, UIDs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from postroom.mime.facts import Facts
from postroom.mime.structure import dump_structure
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId
from postroom.model.message import BlobRef
from postroom.model.uidset import Range, UidSet
from postroom.store.blobs.files import FILES
from postroom.store.blobs.inline import INLINE
from postroom.store.sql.rows import Work

REFERENCE_SEPARATOR: Final = "\n"
_FEW_RUNS: Final = 64

_INSERT_CONTENT: Final = "INSERT INTO content VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_MESSAGE: Final = "INSERT INTO message VALUES (?, ?, ?, ?)"
_SHARE_MESSAGE: Final = (
    "INSERT INTO message_share VALUES (?, 2) ON CONFLICT (key) DO UPDATE SET entries = entries + 1"
)


def message_key(account: AccountId, message: int) -> int:
    """The key of ``message``: what SQL writes as ``account << 32 | message``."""
    return account << 32 | message


def insert_message(
    work: Work, key: int, content: int, envelope_from: str | None, envelope_to: str | None
) -> None:
    """Write a message's row; it has no entry yet and must get one in the same transaction."""
    work.execute(_INSERT_MESSAGE, (key, content, envelope_from, envelope_to))


class NewContents:
    """Contents written by one operation: each once, with as many references as were asked for."""

    __slots__ = ("_refs", "_rows", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work
        self._rows: dict[tuple[str, str, bytes], int] = {}
        self._refs: dict[int, int] = {}

    def refer(self, blob: BlobRef, facts: Facts | None) -> int:
        """The content's row; counts one reference. Facts are taken from the first reference. Raises Unavailable for a kind
        of blob that this shard cannot hold."""
        identity = (blob.kind, blob.key, blob.digest)
        row = self._rows.get(identity)
        if row is None:
            row = self._rows[identity] = self._insert(blob, facts)
            self._refs[row] = 1
        else:
            self._refs[row] += 1
        return row

    def save(self) -> None:
        """Write the reference counts above one."""
        for row, refs in self._refs.items():
            if refs > 1:
                self._work.execute("INSERT INTO content_share VALUES (?, ?)", (row, refs))

    def _insert(self, blob: BlobRef, facts: Facts | None) -> int:
        work = self._work
        file: str | None = None
        octets: bytes | None = None
        if blob.kind == FILES:
            file = blob.key
        elif blob.kind == INLINE and blob.octets is not None:
            octets = blob.octets
        else:
            raise Unavailable(private=f"a blob of kind {blob.kind} without octets cannot be stored")
        work.execute(_INSERT_CONTENT, _columns(blob, file, octets, facts))
        return work.last_insert_rowid()


def _columns(blob: BlobRef, file: str | None, octets: bytes | None, facts: Facts | None) -> tuple[Any, ...]:
    if facts is None:
        return (blob.size, file, None, None, None, blob.digest, *(None,) * 8, octets)
    return (
        blob.size,
        file,
        facts.sent,
        facts.sent_day,
        facts.version,
        blob.digest,
        facts.message_id,
        facts.base_subject,
        facts.envelope,
        dump_structure(facts.root),
        facts.bodystructure,
        facts.body_fields,
        facts.preview,
        REFERENCE_SEPARATOR.join(facts.references),
        octets,
    )


def share_messages(work: Work, keys: Sequence[int]) -> None:
    """One more entry for each message that already has one."""
    work.executemany(_SHARE_MESSAGE, [(key,) for key in keys])


@dataclass(slots=True, frozen=True)
class _Shares:
    """Statements on a table that counts references where there is more than one, each for a run of ids."""

    count: str
    select: str
    lower: str
    drop_last: str
    """Of those with two references."""
    drop: str


_MESSAGE_SHARES: Final = _Shares(
    "SELECT count(*) FROM message_share WHERE key BETWEEN ? AND ?",
    "SELECT key, entries FROM message_share WHERE key BETWEEN ? AND ?",
    "UPDATE message_share SET entries = entries - ? WHERE key BETWEEN ? AND ?",
    "DELETE FROM message_share WHERE key BETWEEN ? AND ? AND entries <= 2",
    "DELETE FROM message_share WHERE key BETWEEN ? AND ?",
)
_CONTENT_SHARES: Final = _Shares(
    "SELECT count(*) FROM content_share WHERE content BETWEEN ? AND ?",
    "SELECT content, refs FROM content_share WHERE content BETWEEN ? AND ?",
    "UPDATE content_share SET refs = refs - ? WHERE content BETWEEN ? AND ?",
    "DELETE FROM content_share WHERE content BETWEEN ? AND ? AND refs <= 2",
    "DELETE FROM content_share WHERE content BETWEEN ? AND ?",
)


def release_messages(work: Work, keys: Sequence[int]) -> None:
    """One entry less for each message (a key may come several times); what has none left goes, its content with it."""
    contents: list[Any] = work.executemany(
        "DELETE FROM message WHERE key BETWEEN ? AND ? RETURNING content",
        _release(work, _MESSAGE_SHARES, keys).ranges,
    ).fetchall()
    release_contents(work, [row[0] for row in contents])


def release_contents(work: Work, contents: Sequence[int]) -> None:
    """One reference less for each (one may come several times); the last one takes the octets along."""
    alone = _release(work, _CONTENT_SHARES, contents)
    work.executemany("DELETE FROM content WHERE id BETWEEN ? AND ?", alone.ranges)


def _release_once(work: Work, shares: _Shares, ids: UidSet) -> UidSet:
    """The same where no id comes twice and there are few runs: ids are listed only where shared ones lie among others (measured,
    EXPUNGE of 10,000 copies: half)."""
    alone: list[Range] = []
    for run in ids.ranges:
        found = work.row(shares.count, run)
        shared = found[0] if found else 0
        if not shared:
            alone.append(run)
            continue
        if shared <= run[1] - run[0]:
            there: list[Any] = work.execute(shares.select, run).fetchall()
            alone += (UidSet((run,)) - UidSet.of(row[0] for row in there)).ranges
        work.execute(shares.drop_last, run)
        work.execute(shares.lower, (1, *run))
    return UidSet(alone)


def _release(work: Work, shares: _Shares, ids: Sequence[int]) -> UidSet:
    """Take one reference for each time an id comes; gives those that have none left. Ids rise together with time, so what goes
    together mostly lies together: statements are one for each run (EXPUNGE of 10,000: half of what one for each message cost)."""
    runs = UidSet.of(ids)
    if len(runs) == len(ids) and len(runs.ranges) <= _FEW_RUNS:
        return _release_once(work, shares, runs)
    taken = Counter(ids)
    rows: list[Any] = work.executemany(shares.select, UidSet.of(taken).ranges).fetchall()
    if not rows:
        return UidSet.of(taken)
    had: dict[int, int] = dict(rows)
    lowered: defaultdict[int, list[int]] = defaultdict(list)
    for one, count in had.items():
        if count - taken[one] > 1:
            lowered[taken[one]].append(one)
    for times, some in lowered.items():
        work.executemany(shares.lower, [(times, *run) for run in UidSet.of(some).ranges])
    dropped = UidSet.of(one for one, count in had.items() if count - taken[one] <= 1)
    work.executemany(shares.drop, dropped.ranges)
    return UidSet.of(one for one, times in taken.items() if had.get(one, 1) <= times)
