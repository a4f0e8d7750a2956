"""IMAP's ENVELOPE, rendered (RFC 3501 §7.4.2).

Invariants: pure ASCII, balanced, at most ``MAX_ENVELOPE`` octets: an address list that would be larger stops, a text is
cut at ``MAX_TEXT``. Raw octets over 127 are shown as encoded-words (RFC 2047), so that sessions without UTF8=ACCEPT may
see them.

It must not know: where the message is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from postroom.mime.address import Budget, Entry, parse_address_list, read_simple
from postroom.mime.nstring import NIL, quoted
from postroom.mime.words import encode_words

MAX_ENVELOPE: Final = 1 << 20
MAX_TEXT: Final = 1 << 15

ENVELOPE_FIELDS: Final = frozenset(
    (
        b"date",
        b"subject",
        b"from",
        b"sender",
        b"reply-to",
        b"to",
        b"cc",
        b"bcc",
        b"in-reply-to",
        b"message-id",
    )
)
EMPTY_ENVELOPE: Final = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

# Octets that rendered address lists may take: recipients together, and the originators, which may be shown three times.
# The four texts, at worst four times as large as encoded-words, fit in what is left of MAX_ENVELOPE.
_RECIPIENT_BUDGET: Final = 1 << 19
_ORIGINATOR_BUDGET: Final = 1 << 15
_SHORT: Final = 4096


class EnvelopeWriter:
    """Renders the envelopes of a message and of those inside it, with one budget for all of them.

    ``over`` is set when a limit cut something off.
    """

    __slots__ = ("_budget", "_over")

    def __init__(self) -> None:
        self._over = False
        self._budget = Budget()

    @property
    def over(self) -> bool:
        """Whether anything was left out of any envelope."""
        return self._over or self._budget.over

    def render(self, fields: Mapping[bytes, list[bytes]]) -> bytes:
        """``fields``: unfolded values by lower-case name (postroom.mime.header.pick)."""
        get = fields.get
        sender_list = self._first(get(b"from"))
        sender = self._first(get(b"sender"))
        reply_to = self._first(get(b"reply-to"))
        to = self._all(get(b"to"), _RECIPIENT_BUDGET)
        cc = self._all(get(b"cc"), _RECIPIENT_BUDGET - len(to))
        bcc = self._all(get(b"bcc"), _RECIPIENT_BUDGET - len(to) - len(cc))
        return b"(%b %b %b %b %b %b %b %b %b %b)" % (
            self._text(get(b"date")),
            self._text(get(b"subject")),
            sender_list,
            sender_list if sender == NIL else sender,
            sender_list if reply_to == NIL else reply_to,
            to,
            cc,
            bcc,
            self._text(get(b"in-reply-to")),
            self._text(get(b"message-id")),
        )

    def _text(self, values: list[bytes] | None) -> bytes:
        if values is None:
            return NIL
        value = values[0]
        if len(value) > MAX_TEXT:
            self._over = True
            value = value[:MAX_TEXT]
        return quoted(value)

    def _first(self, values: list[bytes] | None) -> bytes:
        """An address field that may stand once (RFC 5322 §3.6): further ones are not looked at."""
        return NIL if values is None else self._list(values[0], _ORIGINATOR_BUDGET)

    def _all(self, values: list[bytes] | None, budget: int) -> bytes:
        """A recipient field; several are read as one (RFC 5322 §4.5 obs-fields)."""
        if values is None:
            return NIL
        return self._list(values[0] if len(values) == 1 else b",".join(values), budget)

    def _list(self, value: bytes, budget: int) -> bytes:
        if not value:
            return NIL
        if len(value) < _SHORT:
            rendered = self._short_list(value)
            if rendered is not None and len(rendered) <= budget:
                return rendered
        entries = parse_address_list(value, self._budget)
        texts: list[bytes] = []
        in_group = False
        for entry in entries:
            text = render_address(entry)
            budget -= len(text)
            if budget < 0:
                self._over = True
                if in_group:
                    texts.append(_GROUP_END)
                break
            if entry.domain is None:
                in_group = entry.local is not None
            texts.append(text)
        return b"(" + b"".join(texts) + b")" if texts else NIL

    def _short_list(self, value: bytes) -> bytes | None:
        """A list of nothing but usual addresses, without the detour over entries; None for any other."""
        budget = self._budget
        found, end = read_simple(value, budget)
        if end < len(value) or not found:
            budget.addresses += len(found)
            return None
        return b"(%b)" % b"".join(
            [
                b'(NIL NIL "%b" "%b")' % (local, domain)
                if name is None
                else b'("%b" NIL "%b" "%b")' % (name, local, domain)
                for name, local, domain in found
            ]
        )


_GROUP_END: Final = b"(NIL NIL NIL NIL)"


def render_address(entry: Entry) -> bytes:
    """One address structure (RFC 3501 §9 address), group marks included."""
    name, route, local, domain = entry.name, entry.route, entry.local, entry.domain
    return b"(%b %b %b %b)" % (
        NIL if name is None else quoted(name),
        NIL if route is None else quoted(route),
        NIL if local is None else quoted(local),
        NIL if domain is None else quoted(domain) if domain.isascii() else quoted(_ascii_domain(domain)),
    )


def _ascii_domain(domain: bytes) -> bytes:
    """An internationalised domain as A-labels (RFC 5890 §2.3.2.1), or, if it is none, as encoded-words."""
    text = domain.decode("utf-8", "replace")
    if len(text) <= 255 and "�" not in text:
        try:
            return text.encode("idna")
        except UnicodeError:
            pass
    return encode_words(text)


def render_envelope(fields: Mapping[bytes, list[bytes]]) -> bytes:
    """The envelope for fields as ``pick`` gives them."""
    return EnvelopeWriter().render(fields)
