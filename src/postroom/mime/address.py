"""Address lists (RFC 5322 §3.4, §4.4): mailboxes, groups, routes, comments, as written by real senders.

Purpose: ``parse_address_list`` gives entries in the shape of IMAP's address structure, from which everything else
follows.

Invariants: never raises; one pass over the value with a table of tokens, no recursion (comments nest by counting); at most
``limit`` entries. Names keep their encoded-words; quoting is removed from names and local parts.

It must not know: IMAP's strings, SMTP's rules for addresses (postroom.model.address).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_ADDRESSES: Final = 10_000
MAX_TOKENS: Final = 200_000
"""Words and marks that are read where addresses are not in the usual form: twenty for each of them."""

MAX_LIST: Final = 1 << 20
"""Octets of an address field that are read."""


@dataclass(slots=True)
class Entry:
    """An address, or a group mark (RFC 3501 §7.4.2): ``domain`` None with ``local`` a group's name opens the group,
    both None closes it. ``name`` is the display name, raw; ``route`` the obsolete source route.
    """

    name: bytes | None
    route: bytes | None
    local: bytes | None
    domain: bytes | None


class Budget:
    """What may still be read, of one field or of all fields of a message together (threats: MIME bombs)."""

    __slots__ = ("addresses", "over", "tokens")

    def __init__(self, addresses: int = MAX_ADDRESSES, tokens: int = MAX_TOKENS) -> None:
        self.addresses = addresses
        self.tokens = tokens
        self.over = False


# The two forms nearly all mail uses; anything else goes the long way. Possessive: no attempt looks back.
_ATOM: Final = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]++"
_PHRASE: Final = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~. \t-]*+"
_SIMPLE: Final = re.compile(
    rb'[ \t]*+(?:"([^"\\\x00\r\n\x80-\xff]*+)"[ \t]*+|('
    + _PHRASE
    + rb"))<("
    + _ATOM
    + rb")@("
    + _ATOM
    + rb")>[ \t]*+(,|\Z)"
)
_BARE: Final = re.compile(rb"[ \t]*+(" + _ATOM + rb")@(" + _ATOM + rb")[ \t]*+(,|\Z)")

_TOKEN: Final = re.compile(
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|\\?\Z)'  # 1 quoted string, closed or not
    rb"|(\[[^\]\\]*+(?:\\.[^\]\\]*+)*+(?:\]|\\?\Z))"  # 2 domain literal
    rb'|([^\s"(),:;<>@\[\]\\]++)'  # 3 atoms and dots
    rb"|(\s++)"  # 4 white space
    rb"|(.)",  # 5 special
    re.DOTALL,
)
_COMMENT: Final = re.compile(rb"[()\\]")
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_RUNS: Final = re.compile(rb"[ \t\r\n]+")


def unescape(value: bytes) -> bytes:
    """Quoted pairs resolved (RFC 5322 §3.2.1)."""
    # split() keeps what the group took, so joining leaves out the backslashes alone
    return b"".join(_ESCAPED.split(value)) if b"\\" in value else value


def _comment_end(value: bytes, pos: int, budget: Budget) -> int:
    """The offset behind the comment that opens at ``pos``; the end of the value when it never closes."""
    depth = 0
    skip = -1
    for match in _COMMENT.finditer(value, pos):
        budget.tokens -= 1
        if budget.tokens <= 0:
            budget.over = True
            break
        at = match.start()
        if at == skip:
            continue
        mark = value[at]
        if mark == 0x5C:
            skip = at + 1
        elif mark == 0x28:
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                return at + 1
    return len(value)


class _Reader:
    """State of the long way: what has been gathered of the address under the cursor."""

    __slots__ = (
        "angle",
        "at",
        "closed",
        "comment",
        "domain",
        "entries",
        "in_group",
        "in_route",
        "limit",
        "local",
        "name",
        "route",
        "space",
        "words",
    )

    def __init__(self, limit: int) -> None:
        self.entries: list[Entry] = []
        self.limit = limit
        self.in_group = False
        self.clear()

    def clear(self) -> None:
        self.words: list[bytes] = []  # of a phrase or a local part, a space where white space stood
        self.space = False
        self.name: bytes | None = None
        self.comment: bytes | None = None
        self.route: bytes | None = None
        self.local: list[bytes] = []
        self.domain: list[bytes] = []
        self.at = False  # behind "@"
        self.in_route = False  # in "<@a,@b:" (RFC 5322 §4.4 obs-route)
        self.angle = False  # behind "<"
        self.closed = False  # behind ">"

    def word(self, text: bytes) -> None:
        if self.at and not self.closed:
            # white space ends a domain unless a dot stands beside it (RFC 5322 §4.4 obs-domain)
            if (
                not (self.space and self.domain)
                or text[:1] == b"."
                or self.domain[-1][-1:] in (b".", b",", b"@")
            ):
                self.domain.append(text)
                self.space = False
            return
        if self.space and self.words:
            self.words.append(b" ")
        self.space = False
        self.words.append(text)

    def add(self, entry: Entry) -> None:
        if len(self.entries) < self.limit:
            self.entries.append(entry)

    def phrase(self) -> bytes:
        return b"".join(self.words)

    def dotted(self) -> bytes:
        """The words as a local part: white space beside dots goes (RFC 5322 §4.4 obs-local-part)."""
        text = b"".join(self.words)
        return text.replace(b" .", b".").replace(b". ", b".") if b" " in text else text

    def flush(self) -> None:
        """The address is complete: add it if there is one."""
        if self.angle or self.at:
            local = b"".join(self.local) if self.at or self.closed else self.dotted()
            name = self.name if self.name is not None else self.comment
            domain = b"".join(self.domain)
            if local or domain or name is not None:
                self.add(Entry(name, self.route, local, domain))
        elif self.words:
            self.add(Entry(self.comment, None, self.phrase(), b""))
        self.clear()

    def special(self, mark: bytes) -> None:
        if mark == b"<":
            self.open_angle()
        elif mark == b">":
            if self.angle and not self.closed:
                if not self.at:
                    self.local = [self.dotted()]
                self.words, self.space, self.closed, self.in_route = [], False, True, False
        elif mark == b"@":
            self.at_sign()
        elif mark == b":":
            self.colon()
        elif mark == b";":
            self.flush()
            if self.in_group:
                self.add(Entry(None, None, None, None))
                self.in_group = False
        elif mark == b",":
            if self.in_route:
                self.domain.append(mark)
            else:
                self.flush()

    def open_angle(self) -> None:
        if self.closed:  # quirk: senders that forget the comma between two addresses
            phrase = self.phrase()
            self.flush()
            self.name = phrase or None
        elif not self.angle:
            phrase = self.phrase()
            if self.at:  # quirk: an address without quotes as display name: a@b <a@b>
                phrase = b"".join([*self.local, b"@", *self.domain])
            self.name = phrase or None
        self.words, self.domain, self.space = [], [], False
        self.local, self.at, self.angle, self.in_route = [], False, True, False

    def at_sign(self) -> None:
        if self.closed:
            words = self.words
            self.flush()
            self.words = words
        if self.in_route:
            self.domain.append(b"@")
            return
        if self.at:
            self.local += (b"@", *self.domain)
        else:
            local = self.dotted()
            self.local = [local]
            self.in_route = self.angle and not local
            if b" " in local and b" " in self.words and not self.angle:
                # quirk: a name before an address without angle brackets: Mary Smith mary@example.net
                last = len(self.words) - 1 - self.words[::-1].index(b" ")
                self.name = b"".join(self.words[:last])
                self.local = self.words[last + 1 :]
        self.words, self.domain, self.space, self.at = [], [], False, True

    def colon(self) -> None:
        if self.in_route:
            self.route = b"@" + b"".join(self.domain)
            self.words, self.domain, self.at, self.space, self.in_route = [], [], False, False, False
        elif not self.in_group and not self.at and not self.angle:
            name = self.phrase()
            self.clear()
            self.in_group = True
            self.add(Entry(None, None, name, None))


def _read_slowly(value: bytes, budget: Budget) -> list[Entry]:
    limit = budget.addresses
    reader = _Reader(limit)
    pos, size = 0, len(value)
    match_token = _TOKEN.match
    while pos < size and len(reader.entries) < limit:
        if budget.tokens <= 0:
            budget.over = True
            break
        budget.tokens -= 1
        match = match_token(value, pos)
        if match is None:  # cannot be: the last alternative takes any octet
            break
        pos = match.end()
        kind = match.lastindex
        if kind == 3:
            reader.word(match[3])
        elif kind == 4:
            reader.space = True
        elif kind == 1:
            reader.word(unescape(match[1]))
        elif kind == 2:
            reader.word(match[2])
        elif match[5] == b"(":
            pos = _comment_end(value, match.start(), budget)
            if reader.comment is None:
                inner = value[match.start() + 1 : pos - 1 if value[pos - 1 : pos] == b")" else pos]
                reader.comment = _RUNS.sub(b" ", unescape(inner)).strip() or None
            reader.space = True
        else:
            reader.special(match[5])
    else:
        budget.over |= pos < size
    reader.flush()
    if reader.in_group:
        if len(reader.entries) >= limit:  # the closing mark must fit: clients count them
            reader.entries.pop()
        reader.add(Entry(None, None, None, None))
    return reader.entries


Simple = tuple[bytes | None, bytes, bytes]
"""Name, local part and domain of an address in one of the two usual forms: ASCII, nothing in it to escape."""


def read_simple(value: bytes, budget: Budget) -> tuple[list[Simple], int]:
    """The addresses in usual form at the beginning of a list, and where the first other one starts."""
    limit = budget.addresses
    found: list[Simple] = []
    pos, size = 0, len(value)
    simple, bare = _SIMPLE.match, _BARE.match
    while pos < size and len(found) < limit:
        match = simple(value, pos)
        if match is not None:
            name, phrase, local, domain = match.group(1, 2, 3, 4)
            if name is None:
                name = phrase.strip()
                if b"  " in name or b"\t" in name:
                    name = _RUNS.sub(b" ", name)
            found.append((name or None, local, domain))
        else:
            match = bare(value, pos)
            if match is None:
                break
            found.append((None, match[1], match[2]))
        pos = match.end()
    budget.addresses -= len(found)
    return found, pos


def parse_address_list(value: bytes, budget: Budget | None = None) -> list[Entry]:
    """The addresses of an unfolded field value, as many as the budget allows, group marks included.

    What is read is taken off the budget; ``budget.over`` tells that something was left out.
    """
    if budget is None:
        budget = Budget()
    if len(value) > MAX_LIST:
        value = value[:MAX_LIST]
        budget.over = True
    found, pos = read_simple(value, budget)
    entries = [Entry(name, None, local, domain) for name, local, domain in found]
    if pos < len(value):
        if budget.addresses > 0:
            more = _read_slowly(value[pos:], budget)
            budget.addresses -= len(more)
            entries += more
        else:
            budget.over = True
    return entries
