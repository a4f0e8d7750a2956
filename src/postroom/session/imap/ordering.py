"""What messages are ordered and threaded by: values that never change, kept for the sessions of a worker.

Purpose: a mail program sorts the same mailbox again and again, by a few keys. A UID's values are read once.

Invariants: what is kept is derived from what never changes for a UID, so it cannot be stale; it is bounded, and the mailbox used
longest ago goes first. Strings are folded for comparison (i;unicode-casemap, RFC 5256 "Internationalization Considerations").

It must not know: responses.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from postroom.mime.subject import is_reply
from postroom.mime.text import fold
from postroom.mime.words import decode_words
from postroom.model.ids import AccountId, MailboxId
from postroom.model.uidset import UidSet
from postroom.store.api import Column, Row

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession
    from postroom.session.imap.view import View

MOST_KEPT: Final = 500_000
"""Values of all mailboxes together."""
_FLUSH_AT: Final = 1 << 18
_TOKEN: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"|(NIL)|([()])|\{(\d+)\}\r\n', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_QUOTED_ID: Final = re.compile(r'^"((?:[^"\\]|\\.)*)"(@.*)$')


class Value(Enum):
    """What is known of a message, with the columns it comes from."""

    ARRIVAL = (Column.INTERNAL_DATE,)
    DATE = (Column.SENT, Column.INTERNAL_DATE)
    SIZE = (Column.SIZE,)
    SUBJECT = (Column.BASE_SUBJECT,)
    FROM = (Column.ENVELOPE, 2)
    TO = (Column.ENVELOPE, 5)
    CC = (Column.ENVELOPE, 6)
    DISPLAYFROM = (Column.ENVELOPE, 2, "display")
    DISPLAYTO = (Column.ENVELOPE, 5, "display")
    ANCESTRY = (Column.MESSAGE_ID, Column.REFERENCES, Column.BASE_SUBJECT, Column.SENT, Column.INTERNAL_DATE)
    """Message id, references, base subject and date together: they are wanted together, and lie together."""


@dataclass(slots=True)
class Result:
    """Messages in an order or in threads: what was made of ``uids``, and how it was told when they had these ``numbers``."""

    uids: array[int]
    made: Any
    numbers: Sequence[int] = ()
    told: bytes = b""


@dataclass(slots=True)
class Orderings:
    """Values by mailbox, kind and UID."""

    most: int = MOST_KEPT
    _results: dict[tuple[AccountId, MailboxId, Hashable], Result] = field(default_factory=dict)
    _in_results: int = 0
    _kept: dict[tuple[AccountId, MailboxId], dict[Value, dict[int, Any]]] = field(default_factory=dict)
    _count: int = 0

    async def values(
        self, session: ImapSession, view: View, value: Value, uids: Sequence[int]
    ) -> dict[int, Any]:
        """By UID, for all of these that are still there (and maybe others)."""
        place = (view.account, view.mailbox)
        kinds = self._kept.pop(place, None)
        if kinds is None:
            kinds = {}
        self._kept[place] = kinds  # the last one used
        known = kinds.setdefault(value, {})
        missing = [uid for uid in uids if uid not in known] if known else uids
        if missing:
            fresh = await _read(session, view, value, UidSet.of(missing))
            if len(fresh) + len(known) > self.most:
                return known | fresh
            before = len(known)
            known.update(fresh)
            if self._kept.get(place) is kinds:
                self._count += len(known) - before
                self._shrink(place)
        return known

    def result(self, view: View, what: Hashable, uids: array[int]) -> Result | None:
        """What was made of the same messages before."""
        place = (view.account, view.mailbox, what)
        kept = self._results.pop(place, None)
        if kept is None:
            return None
        self._results[place] = kept  # the last one used
        return kept if kept.uids == uids else None

    def keep(self, view: View, what: Hashable, result: Result) -> None:
        """Remember it; older results go for it."""
        place = (view.account, view.mailbox, what)
        before = self._results.pop(place, None)
        self._in_results -= len(before.uids) if before is not None else 0
        if len(result.uids) > self.most:
            return
        self._results[place] = result
        self._in_results += len(result.uids)
        while self._in_results > self.most:
            self._in_results -= len(self._results.pop(next(iter(self._results))).uids)

    def _shrink(self, spared: tuple[AccountId, MailboxId]) -> None:
        while self._count > self.most and len(self._kept) > 1:
            oldest = next(place for place in self._kept if place != spared)
            self._count -= sum(map(len, self._kept.pop(oldest).values()))
        if self._count > self.most:
            self._count -= sum(map(len, self._kept.pop(spared).values()))


async def _read(session: ImapSession, view: View, value: Value, uids: UidSet) -> dict[int, Any]:
    columns: list[Column] = [part for part in value.value if isinstance(part, Column)]
    convert = _CONVERT[value]
    found: dict[int, Any] = {}
    for batch in session.store.fetch(view.account, view.mailbox, uids, (Column.UID, *columns)):
        found.update(convert(batch))
        await session.relieve(_FLUSH_AT)
    return found


_Convert = Callable[[Iterable[Row]], Iterable[tuple[int, Any]]]


def _dates(batch: Iterable[Row]) -> Iterable[tuple[int, int]]:
    """The sent date, or the internal one where there is none that makes sense (RFC 5256 §2.2)."""
    return [(uid, internal if sent is None else sent) for uid, sent, internal in batch]


def _folded(batch: Iterable[Row]) -> Iterable[tuple[int, str]]:
    return [(uid, fold(text) if text else "") for uid, text in batch]


Ancestry = tuple[str, Sequence[str], str, int]
"""Message id, references, folded base subject, date."""


def _ancestry(batch: Iterable[Row]) -> Iterable[tuple[int, Ancestry]]:
    return [
        (
            uid,
            (
                message_id if '"' not in message_id else normalise_id(message_id),
                _ids(named) if named else (),
                fold(subject),
                internal if sent is None else sent,
            ),
        )
        for uid, message_id, named, subject, sent, internal in batch
    ]


def _ids(named: str) -> list[str]:
    ids = named.split("\n")
    return ids if '"' not in named else list(map(normalise_id, ids))


def _address(place: int, *, display: bool) -> _Convert:
    def convert(batch: Iterable[Row]) -> Iterable[tuple[int, str]]:
        return [(uid, fold(first_address(envelope, place, display=display))) for uid, envelope in batch]

    return convert


_CONVERT: Final[dict[Value, _Convert]] = {
    Value.ARRIVAL: lambda batch: batch,
    Value.DATE: _dates,
    Value.SIZE: lambda batch: batch,
    Value.SUBJECT: _folded,
    Value.FROM: _address(2, display=False),
    Value.TO: _address(5, display=False),
    Value.CC: _address(6, display=False),
    Value.DISPLAYFROM: _address(2, display=True),
    Value.DISPLAYTO: _address(5, display=True),
    Value.ANCESTRY: _ancestry,
}


def normalise_id(message_id: str) -> str:
    """A message id without needless quoting, so that its spellings are one (RFC 5256 §3 REFERENCES)."""
    found = _QUOTED_ID.match(message_id)
    return re.sub(r"\\(.)", r"\1", found[1]) + found[2] if found is not None else message_id


def first_address(envelope: bytes, place: int, *, display: bool) -> str:
    """Of a rendered ENVELOPE the first address at ``place`` (2 from, 5 to, 6 cc): its mailbox, or with ``display`` what is
    shown for it (RFC 5957 §3). Empty where there is none."""
    strings = _list_at(envelope, place)
    if strings is None:
        return ""
    name, _, mailbox, host = strings
    if not display:
        return mailbox or ""
    shown = decode_words(name.encode("latin-1")) if name else ""
    if shown:
        return shown
    return f"{mailbox}@{host}" if mailbox is not None and host is not None else mailbox or ""


def subject_says_reply(envelope: bytes) -> bool:
    """Whether the subject in a rendered ENVELOPE is that of a reply or forward."""
    at, strings = 1, 0
    while strings < 2:
        text, at = _string(envelope, at)
        strings += 1
        if strings == 2:
            return is_reply(decode_words(text.encode("latin-1"))) if text else False
    return False


def _string(envelope: bytes, at: int) -> tuple[str | None, int]:
    """The string or NIL that begins at the next token."""
    found = _TOKEN.search(envelope, at)
    if found is None:
        return None, len(envelope)
    if found[1] is not None:
        text = found[1]
        return (_ESCAPED.sub(rb"\1", text) if b"\\" in text else text).decode("latin-1"), found.end()
    if found[4] is not None:
        end = found.end() + int(found[4])
        return envelope[found.end() : end].decode("latin-1"), end
    return None, found.end()


def _list_at(envelope: bytes, place: int) -> tuple[str | None, str | None, str | None, str | None] | None:
    """The four strings of the first address in the list of addresses at a place; None where there is NIL."""
    at, current, depth = 1, 0, 0
    while True:
        found = _TOKEN.search(envelope, at)
        if found is None:
            return None
        at = found.end()
        if found[3] == b"(":
            depth += 1
            if current == place and depth == 2:
                parts = []
                for _ in range(4):
                    text, at = _string(envelope, at)
                    parts.append(text)
                return parts[0], parts[1], parts[2], parts[3]
        elif found[3] == b")":
            depth -= 1
            current += depth == 0
        else:
            if found[4] is not None:
                at += int(found[4])
            if depth == 0:
                if current == place:
                    return None
                current += 1
