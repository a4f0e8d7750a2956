"""The grammar of search keys (RFC 3501 §6.4.4, §9 search-key).

Keys are rows: a word and a function that reads its arguments. Recursion (NOT, OR, parentheses) is bounded by the cursor's depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from postroom.model.flags import SystemFlag
from postroom.model.search import (
    All,
    BodyContains,
    HasFlags,
    HasKeyword,
    HeaderContains,
    InternalDay,
    ModseqAtLeast,
    SavedDay,
    SentDay,
    Size,
    TextContains,
)
from postroom.wire.cursor import Cursor
from postroom.wire.imap.ext.condstore import parse_modseq_key, write_modseq_key
from postroom.wire.imap.ext.within import parse_older, parse_younger, write_within
from postroom.wire.imap.search import (
    AllOf,
    Either,
    Negated,
    Numbers,
    ObjectIs,
    Recent,
    SearchKey,
    UidNumbers,
    Within,
)
from postroom.wire.imap.values.atoms import (
    ATOM,
    parse_astring,
    parse_number,
)
from postroom.wire.imap.values.dates import parse_date, write_date
from postroom.wire.imap.values.objectid import parse_object_id
from postroom.wire.imap.values.sequence import parse_sequence_set
from postroom.wire.imap.writer import CommandText

MAX_KEYS: Final = 10_000
"""Keys in one list (threats D2)."""

_KEY: Final = re.compile(rb"[A-Za-z0-9-]+")
_FIELD: Final = re.compile(rb"[\x21-\x39\x3b-\x7e]+")
_SEEN: Final = SystemFlag.SEEN.value

_FLAG_KEYS: Final = {
    b"ANSWERED": HasFlags(SystemFlag.ANSWERED.value),
    b"DELETED": HasFlags(SystemFlag.DELETED.value),
    b"DRAFT": HasFlags(SystemFlag.DRAFT.value),
    b"FLAGGED": HasFlags(SystemFlag.FLAGGED.value),
    b"SEEN": HasFlags(_SEEN),
    b"UNANSWERED": HasFlags(SystemFlag.ANSWERED.value, present=False),
    b"UNDELETED": HasFlags(SystemFlag.DELETED.value, present=False),
    b"UNDRAFT": HasFlags(SystemFlag.DRAFT.value, present=False),
    b"UNFLAGGED": HasFlags(SystemFlag.FLAGGED.value, present=False),
    b"UNSEEN": HasFlags(_SEEN, present=False),
}
_PLAIN_KEYS: Final[dict[bytes, SearchKey]] = {
    **_FLAG_KEYS,
    b"ALL": All(),
    b"SAVEDATESUPPORTED": All(),  # RFC 8514 §4.3: every mailbox has them
    b"NEW": AllOf((Recent(), HasFlags(_SEEN, present=False))),
    b"OLD": Negated(Recent()),
    b"RECENT": Recent(),
}
_FLAG_WORDS: Final = {key: word for word, key in _FLAG_KEYS.items()}
_FIELD_WORDS: Final = {"From": b"FROM", "To": b"TO", "Cc": b"CC", "Bcc": b"BCC", "Subject": b"SUBJECT"}


class SearchText:
    """How texts are decoded: by the command's CHARSET (RFC 3501 §6.4.4)."""

    __slots__ = ("encoding",)

    def __init__(self, charset: str | None) -> None:
        # quirk: imaplib scripts and old Outlook send UTF-8 without saying so
        self.encoding = "ascii" if charset == "US-ASCII" else "utf-8"

    def parse(self, cursor: Cursor) -> str:
        """SP astring as text; raises ParseError when it is not in the charset."""
        cursor.expect(b" ")
        octets = parse_astring(cursor)
        try:
            return octets.decode(self.encoding)
        except UnicodeDecodeError:
            cursor.fail("text is not in the charset")


def parse_search_key(cursor: Cursor, text: SearchText) -> SearchKey:
    """One search-key."""
    first = cursor.peek()
    if first in (0x24, 0x2A) or 0x30 <= first <= 0x39:
        return Numbers(parse_sequence_set(cursor))
    if first == 0x28:
        cursor.enter()
        cursor.pos += 1
        key = parse_search_keys(cursor, text)
        cursor.expect(b")")
        cursor.leave()
        return key
    word = cursor.need(_KEY, "search key").upper()
    plain = _PLAIN_KEYS.get(word)
    if plain is not None:
        return plain
    parse = _KEYS.get(word)
    if parse is None:
        cursor.fail("unknown search key")
    return parse(cursor, text)


def parse_search_keys(cursor: Cursor, text: SearchText) -> SearchKey:
    """One or more keys parted by spaces: the key itself when there is one, else AllOf."""
    keys = [parse_search_key(cursor, text)]
    while cursor.skip(b" "):
        keys.append(parse_search_key(cursor, text))
        if len(keys) > MAX_KEYS:
            cursor.fail("too many search keys")
    return keys[0] if len(keys) == 1 else AllOf(tuple(keys))


def _not(cursor: Cursor, text: SearchText) -> SearchKey:
    cursor.expect(b" ")
    cursor.enter()
    key = parse_search_key(cursor, text)
    cursor.leave()
    return Negated(key)


def _or(cursor: Cursor, text: SearchText) -> SearchKey:
    cursor.enter()
    cursor.expect(b" ")
    left = parse_search_key(cursor, text)
    cursor.expect(b" ")
    right = parse_search_key(cursor, text)
    cursor.leave()
    return Either(left, right)


def _field(name: str) -> Callable[[Cursor, SearchText], SearchKey]:
    def parse(cursor: Cursor, text: SearchText) -> SearchKey:
        return HeaderContains(name, text.parse(cursor))

    return parse


def _header(cursor: Cursor, text: SearchText) -> SearchKey:
    cursor.expect(b" ")
    name = parse_astring(cursor)
    if not _FIELD.fullmatch(name):
        cursor.fail("bad header field name")
    return HeaderContains(name.decode("ascii"), text.parse(cursor))


def _keyword(present: bool) -> Callable[[Cursor, SearchText], SearchKey]:
    def parse(cursor: Cursor, text: SearchText) -> SearchKey:  # noqa: ARG001 - the shape of a row
        cursor.expect(b" ")
        return HasKeyword(cursor.need(ATOM, "keyword").decode("ascii"), present)

    return parse


def _object_id(thread: bool) -> Callable[[Cursor, SearchText], SearchKey]:
    def parse(cursor: Cursor, text: SearchText) -> SearchKey:  # noqa: ARG001 - the shape of a row
        cursor.expect(b" ")
        return ObjectIs(parse_object_id(cursor), thread)

    return parse


def _day(
    kind: type[InternalDay | SavedDay | SentDay], word: str
) -> Callable[[Cursor, SearchText], SearchKey]:
    def parse(cursor: Cursor, text: SearchText) -> SearchKey:  # noqa: ARG001 - the shape of a row
        cursor.expect(b" ")
        day = parse_date(cursor)
        if word == "BEFORE":
            return kind(before=day)
        return kind(since=day) if word == "SINCE" else kind(day, day + 1)

    return parse


def _size(larger: bool) -> Callable[[Cursor, SearchText], SearchKey]:
    def parse(cursor: Cursor, text: SearchText) -> SearchKey:  # noqa: ARG001 - the shape of a row
        cursor.expect(b" ")
        octets = parse_number(cursor)
        return Size(over=octets) if larger else Size(under=octets)

    return parse


def _uid(cursor: Cursor, text: SearchText) -> SearchKey:  # noqa: ARG001 - the shape of a row
    cursor.expect(b" ")
    return UidNumbers(parse_sequence_set(cursor))


_KEYS: Final[dict[bytes, Callable[[Cursor, SearchText], SearchKey]]] = {
    b"BCC": _field("Bcc"),
    b"BEFORE": _day(InternalDay, "BEFORE"),
    b"BODY": lambda cursor, text: BodyContains(text.parse(cursor)),
    b"CC": _field("Cc"),
    b"FROM": _field("From"),
    b"HEADER": _header,
    b"KEYWORD": _keyword(present=True),
    b"LARGER": _size(larger=True),
    b"MODSEQ": lambda cursor, _text: parse_modseq_key(cursor),
    b"NOT": _not,
    b"OLDER": lambda cursor, _text: parse_older(cursor),
    b"ON": _day(InternalDay, "ON"),
    b"OR": _or,
    b"SAVEDBEFORE": _day(SavedDay, "BEFORE"),
    b"SAVEDON": _day(SavedDay, "ON"),
    b"SAVEDSINCE": _day(SavedDay, "SINCE"),
    b"SENTBEFORE": _day(SentDay, "BEFORE"),
    b"SENTON": _day(SentDay, "ON"),
    b"SENTSINCE": _day(SentDay, "SINCE"),
    b"SINCE": _day(InternalDay, "SINCE"),
    b"SMALLER": _size(larger=False),
    b"SUBJECT": _field("Subject"),
    b"TEXT": lambda cursor, text: TextContains(text.parse(cursor)),
    b"TO": _field("To"),
    b"EMAILID": _object_id(thread=False),
    b"THREADID": _object_id(thread=True),
    b"UID": _uid,
    b"UNKEYWORD": _keyword(present=False),
    b"YOUNGER": lambda cursor, _text: parse_younger(cursor),
}
KEY_WORDS: Final = frozenset(_KEYS) | frozenset(_PLAIN_KEYS)
"""Every word that starts a search key."""


def write_search_keys(text: CommandText, key: SearchKey) -> None:
    """The keys of a SEARCH; an AllOf at the top needs no parentheses."""
    if isinstance(key, AllOf):
        for place, inner in enumerate(key.keys):
            if place:
                text.text(b" ")
            write_search_key(text, inner)
    else:
        write_search_key(text, key)


def write_search_key(text: CommandText, key: SearchKey) -> None:
    """One search-key."""
    match key:
        case AllOf():
            text.text(b"(")
            write_search_keys(text, key)
            text.text(b")")
        case Either(left, right):
            text.text(b"OR ")
            write_search_key(text, left)
            text.text(b" ")
            write_search_key(text, right)
        case Negated(inner):
            text.text(b"NOT ")
            write_search_key(text, inner)
        case HeaderContains(name, value):
            word = _FIELD_WORDS.get(name)
            text.text(b"HEADER " if word is None else word + b" ")
            if word is None:
                text.astring(name.encode("ascii"))
                text.text(b" ")
            text.string(value.encode())
        case BodyContains(value):
            text.text(b"BODY ")
            text.string(value.encode())
        case TextContains(value):
            text.text(b"TEXT ")
            text.string(value.encode())
        case _:
            text.text(_write_simple(key))


def _write_simple(
    key: All
    | HasFlags
    | HasKeyword
    | InternalDay
    | SavedDay
    | SentDay
    | Size
    | ModseqAtLeast
    | Numbers
    | UidNumbers
    | Recent
    | Within
    | ObjectIs,
) -> bytes:
    match key:
        case All():
            return b"ALL"
        case Recent():
            return b"RECENT"
        case HasFlags(flags, present):
            single = [HasFlags(flag.value, present) for flag in SystemFlag(flags)]
            return _conjunction([_FLAG_WORDS[each] for each in single])
        case HasKeyword(keyword, present):
            return (b"KEYWORD " if present else b"UNKEYWORD ") + keyword.encode("ascii")
        case InternalDay(since, before):
            return _write_days(b"", since, before)
        case SavedDay(since, before):
            return _write_days(b"SAVED", since, before)
        case SentDay(since, before):
            return _write_days(b"SENT", since, before)
        case Size(over, under):
            sizes = [] if over is None else [b"LARGER %d" % over]
            return _conjunction(sizes if under is None else [*sizes, b"SMALLER %d" % under])
        case ModseqAtLeast():
            return write_modseq_key(key)
        case Numbers(numbers):
            return numbers.write()
        case UidNumbers(uids):
            return b"UID " + uids.write()
        case Within():
            return write_within(key)
        case ObjectIs(identifier, thread):
            return (b"THREADID " if thread else b"EMAILID ") + identifier.encode("ascii")


def _write_days(prefix: bytes, since: int | None, before: int | None) -> bytes:
    if since is not None and before == since + 1:
        return prefix + b"ON " + write_date(since)
    days = [] if since is None else [prefix + b"SINCE " + write_date(since)]
    return _conjunction(days if before is None else [*days, prefix + b"BEFORE " + write_date(before)])


def _conjunction(words: list[bytes]) -> bytes:
    if not words:
        return b"ALL"
    return words[0] if len(words) == 1 else b"(" + b" ".join(words) + b")"
