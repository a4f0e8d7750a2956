"""What search criteria mean: exactly, for one entry, and as SQL that finds the candidates.

Purpose: one meaning for all engines. ``matches`` decides about an entry; ``plan`` gives a WHERE clause that holds for every
entry that matches (and often for some that do not: then ``exact`` is False and ``matches`` has the last word).

Invariants: text is compared folded (``mime.text.fold``), as substrings (RFC 3501 §6.4.4). Text is decoded only for candidates
that everything else has left over. Depth is bounded by whoever built the criterion.

It must not know: engines, sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from postroom.mime.facts import Part
from postroom.mime.text import body_text, fold, header_text, search_text
from postroom.model import search as criteria
from postroom.model.flags import SystemFlag
from postroom.model.search import Criterion
from postroom.model.uidset import UidSet

_DAY: Final = 86_400
_MOST_RANGES: Final = 500
"""Ranges of a UID set that are written into SQL; a set with more is left to ``matches``."""


class Message(Protocol):
    """An entry with its text, as ``matches`` asks for it."""

    @property
    def uid(self) -> int:
        """UID."""

    @property
    def flags(self) -> int:
        """System flag bits."""

    @property
    def keywords(self) -> tuple[str, ...]:
        """Keywords."""

    @property
    def modseq(self) -> int:
        """Modseq."""

    @property
    def internal_date(self) -> int:
        """Seconds since 1970 UTC."""

    @property
    def zone(self) -> int:
        """Minutes east of UTC."""

    @property
    def size(self) -> int:
        """Octets."""

    @property
    def message_id(self) -> int:
        """Whose entry it is."""

    @property
    def saved(self) -> int:
        """When it came into its mailbox, or its internal date where that is not known."""

    @property
    def sent_day(self) -> int | None:
        """Day of the Date header."""

    def text(self) -> MessageText:
        """Its text; may be costly the first time."""


class MessageText:
    """Folded text of one message, decoded when first asked for."""

    __slots__ = ("_body", "_header", "_octets", "_root", "_whole")

    def __init__(self, octets: bytes, root: Part) -> None:
        self._octets = octets
        self._root = root
        self._header: bytes | None = None
        self._body: str | None = None
        self._whole: str | None = None

    def header_contains(self, name: str, folded: str) -> bool:
        """Whether a field of that name is there and, with a text, holds it."""
        if self._header is None:
            self._header = self._octets[self._root.header : self._root.body]
        found = header_text(self._header, name)
        return found is not None and folded in found

    def body_contains(self, folded: str) -> bool:
        """Whether the body's text holds it."""
        if self._body is None:
            self._body = body_text(self._octets, self._root)
        return folded in self._body

    def text_contains(self, folded: str) -> bool:
        """Whether header or body hold it."""
        if self._whole is None:
            self._whole = search_text(self._octets, self._root)
        return folded in self._whole


def day_of(internal_date: int, zone: int) -> int:
    """The day of an internal date in its own zone, counted from 1970-01-01."""
    return (internal_date + zone * 60) // _DAY


def _within(value: int | None, since: int | None, before: int | None) -> bool:
    return value is not None and (since is None or value >= since) and (before is None or value < before)


def matches(criterion: Criterion, message: Message) -> bool:  # noqa: C901 - one arm for each member of the union
    """Whether one entry meets the criterion."""
    match criterion:
        case criteria.All():
            return True
        case criteria.Uids(uids):
            return message.uid in uids
        case criteria.HasFlags(flags, present):
            return message.flags & flags == (flags if present else 0)
        case criteria.HasKeyword(keyword, present):
            wanted = keyword.lower()
            return any(word.lower() == wanted for word in message.keywords) is present
        case criteria.InternalDate(since, before):
            return _within(message.internal_date, since, before)
        case criteria.InternalDay(since, before):
            return _within(day_of(message.internal_date, message.zone), since, before)
        case criteria.SavedDay(since, before):
            return _within(message.saved // _DAY, since, before)
        case criteria.SentDay(since, before):
            return _within(message.sent_day, since, before)
        case criteria.Size(over, under):
            return (over is None or message.size > over) and (under is None or message.size < under)
        case criteria.ModseqAtLeast(modseq):
            return message.modseq >= modseq
        case criteria.IsMessage(wanted_message):
            return message.message_id == wanted_message
        case criteria.HeaderContains(name, text):
            return message.text().header_contains(name, fold(text))
        case criteria.BodyContains(text):
            return message.text().body_contains(fold(text))
        case criteria.TextContains(text):
            return message.text().text_contains(fold(text))
        case criteria.And(inner):
            return all(matches(one, message) for one in inner)
        case criteria.Or(inner):
            return any(matches(one, message) for one in inner)
        case criteria.Not(one):
            return not matches(one, message)


# --- SQL


@dataclass(slots=True)
class SearchPlan:
    """``where`` speaks of ``e`` (entry) and ``m`` (message); ``exact`` says that nothing is left to verify.

    ``needs_message`` tells whether ``m`` occurs.
    """

    where: str
    bindings: list[Any] = field(default_factory=list)
    exact: bool = True
    needs_message: bool = False


CandidateSource = Callable[[str], tuple[str, list[Any]] | None]
"""For a folded needle: SQL (about ``e`` and ``m``) that holds for every message whose text may contain it, or None."""


def plan(criterion: Criterion, candidates: CandidateSource | None = None) -> SearchPlan:
    """The SQL that finds every entry that may match."""
    maker = _Planner(candidates)
    where = maker.over(criterion)
    return SearchPlan(where, maker.bindings, maker.exact, maker.needs_message)


class _Planner:
    """Writes SQL that holds at least (``over``) or at most (``under``) where a criterion does."""

    def __init__(self, candidates: CandidateSource | None) -> None:
        self._candidates = candidates
        self.bindings: list[Any] = []
        self.exact = True
        self.needs_message = False

    def over(self, criterion: Criterion) -> str:
        """Holds wherever the criterion does."""
        match criterion:
            case criteria.HeaderContains() | criteria.BodyContains() | criteria.TextContains():
                self.exact = False
                return self._candidates_for(criterion)
            case criteria.And(inner):
                return self._join(" AND ", "1", [self.over(one) for one in inner])
            case criteria.Or(inner):
                return self._join(" OR ", "0", [self.over(one) for one in inner])
            case criteria.Not(one):
                return f"NOT ({self.under(one)})"
            case _:
                return self._plain(criterion, unsure="1")

    def under(self, criterion: Criterion) -> str:
        """Holds only where the criterion does."""
        match criterion:
            case criteria.HeaderContains() | criteria.BodyContains() | criteria.TextContains():
                self.exact = False
                return "0"
            case criteria.And(inner):
                return self._join(" AND ", "1", [self.under(one) for one in inner])
            case criteria.Or(inner):
                return self._join(" OR ", "0", [self.under(one) for one in inner])
            case criteria.Not(one):
                return f"NOT ({self.over(one)})"
            case _:
                return self._plain(criterion, unsure="0")

    @staticmethod
    def _join(word: str, empty: str, parts: list[str]) -> str:
        return word.join(f"({part})" for part in parts) if parts else empty

    def _candidates_for(self, criterion: Criterion) -> str:
        match criterion:
            case criteria.BodyContains(text) | criteria.TextContains(text) | criteria.HeaderContains(_, text):
                found = self._candidates(fold(text)) if self._candidates is not None else None
                if found is not None:
                    self.bindings += found[1]
                    return found[0]
            case _:
                pass
        return "1"

    def _plain(self, criterion: Criterion, unsure: str) -> str:
        match criterion:
            case criteria.All():
                return "1"
            case criteria.Uids(uids):
                return self._uids(uids, unsure)
            case criteria.HasFlags(flags, present):
                bits = int(flags)
                # Spelt as in the partial indexes, so that they can serve.
                if bits == SystemFlag.SEEN:
                    return "NOT e.unseen" if present else "e.unseen"
                if bits == SystemFlag.DELETED:
                    return "e.deleted" if present else "NOT e.deleted"
                return f"e.flags & {bits} = {bits if present else 0}"
            case criteria.HasKeyword(keyword, present):
                self.bindings.append(f" {keyword.lower()} ")
                return f"instr(' ' || lower(e.keywords) || ' ', ?) {'> 0' if present else '= 0'}"
            case criteria.InternalDate(since, before):
                return self._between("e.internal_date", since, before)
            case criteria.InternalDay(since, before):
                # floor division: dates before 1970 count down
                local = "(e.internal_date + e.zone * 60)"
                return self._between(local, _start(since), _start(before))
            case criteria.SavedDay(since, before):
                saved = "coalesce(e.saved, e.internal_date)"
                return self._between(saved, _start(since), _start(before))
            case criteria.SentDay(since, before):
                self.needs_message = True
                return f"ifnull({self._between('m.sent_day', since, before)}, 0) AND m.sent_day IS NOT NULL"
            case criteria.Size(over, under):
                return self._between("e.size", None if over is None else over + 1, under)
            case criteria.ModseqAtLeast(modseq):
                return self._between("e.modseq", modseq, None)
            case criteria.IsMessage(message):
                self.bindings.append(message)
                return "e.message = ?"
            case _:
                raise AssertionError(f"not a plain criterion: {criterion}")

    def _uids(self, uids: UidSet, unsure: str) -> str:
        if len(uids.ranges) > _MOST_RANGES:
            self.exact = False
            return unsure
        parts = []
        for first, last in uids.ranges:
            self.bindings += [first, last]
            parts.append("e.uid BETWEEN ? AND ?")
        return " OR ".join(parts) if parts else "0"

    def _between(self, what: str, since: int | None, before: int | None) -> str:
        parts = []
        if since is not None:
            self.bindings.append(since)
            parts.append(f"{what} >= ?")
        if before is not None:
            self.bindings.append(before)
            parts.append(f"{what} < ?")
        return " AND ".join(parts) if parts else "1"


def _start(day: int | None) -> int | None:
    return None if day is None else day * _DAY
