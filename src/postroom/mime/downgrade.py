"""Downgrading internationalised headers for readers that know ASCII headers only (RFC 6857).

Purpose: the surrogate of a message whose header fields hold UTF-8: names stay legible as encoded-words, an address that has no
ASCII form becomes a group without members that shows it, identifiers that cannot be rewritten move to Downgraded- fields.

Invariants: the result of ``downgrade_header`` is ASCII, and a header that is ASCII comes back as it is, octet by octet. Only
fields that hold octets over 127 change. Bodies are not touched. Linear in the header; nothing recurses.

It must not know: protocols, stores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote

from postroom.mime.address import Entry, parse_address_list
from postroom.mime.charset import guess
from postroom.mime.facts import Part
from postroom.mime.header import iter_fields, unfold
from postroom.mime.parameters import parse_parameterised
from postroom.mime.words import decode_words, encode_words, to_ascii

_ADDRESSES: Final = frozenset(
    b"from sender to cc bcc reply-to return-path resent-from resent-sender resent-to resent-cc resent-bcc "
    b"resent-reply-to mail-followup-to disposition-notification-to".split()
)
"""RFC 6857 §3.2.1, and others of the same form."""
_ENCAPSULATED: Final = frozenset(
    b"message-id resent-message-id in-reply-to references original-recipient final-recipient".split()
)
"""RFC 6857 §3.2.2, §3.2.4: they are moved, not rewritten."""
_PARAMETERISED: Final = frozenset((b"content-type", b"content-disposition"))
"""RFC 6857 §3.2.6."""
_FOR: Final = re.compile(rb"\sfor\s+(?:<[^>]*>|[^\s;]+)", re.IGNORECASE)
_ATOM: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_PHRASE: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_SPECIAL: Final = re.compile(rb'(["\\])')
_LINE: Final = 76
"""Octets after which a rewritten field is folded where it can be."""


def downgrade_header(block: bytes) -> bytes:
    """The header block (its closing blank line included, if it has one) in ASCII."""
    if block.isascii():
        return block
    end_of_line = b"\r\n" if b"\r\n" in block else b"\n"
    pieces: list[bytes] = []
    pos = 0
    for field in iter_fields(block):
        octets = block[field.start : field.end]
        # What is no field at all cannot be kept where it is not ASCII.
        pieces.append(_harmless(block[pos : field.start]))
        pos = field.end
        if octets.isascii():
            pieces.append(octets)
            continue
        spelt = block[field.start : field.value - 1].rstrip(b" \t")
        value = unfold(block[field.value : field.end]).strip(b" \t\r\n")
        pieces.append(_fold(_downgrade_field(spelt, field.name, value), end_of_line))
    pieces.append(_harmless(block[pos:]))
    return b"".join(pieces)


def header_ranges(root: Part) -> Iterator[tuple[int, int]]:
    """Where the headers of a message and of all its parts lie, in order: first octet, and first octet of the body."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.body > part.header:
            yield part.header, part.body
        waiting.extend(reversed(part.children))


def surrogate(root: Part, read: Callable[[int, int], bytes]) -> list[tuple[int, int, bytes]]:
    """What must be replaced to downgrade a message: offsets of each header that changes, and its ASCII form.

    ``read`` gives the octets between two offsets. Empty for a message that is as it should be.
    """
    changes = []
    for start, end in header_ranges(root):
        block = read(start, end)
        if not block.isascii():
            changes.append((start, end, downgrade_header(block)))
    return changes


def _harmless(octets: bytes) -> bytes:
    return octets if octets.isascii() else octets.translate(None, bytes(range(128, 256)))


def _downgrade_field(spelt: bytes, name: bytes, value: bytes) -> bytes:
    """One field, unfolded, without its line end; ``spelt`` is its name as written."""
    if not spelt.isascii():
        # No field name at all (RFC 5322 §2.2); shown so that nothing is lost.
        return b"Downgraded-Field: " + encode_words(guess(spelt + b": " + value))
    if name in _ENCAPSULATED:
        return b"Downgraded-" + spelt + b": " + encode_words(guess(value))
    if name in _ADDRESSES:
        rewritten = _addresses(value)
    elif name in _PARAMETERISED:
        rewritten = _parameterised(value)
    elif name == b"received":
        # RFC 6857 §3.2.5: the recipient goes, the rest is shown.
        rewritten = to_ascii(_FOR.sub(lambda found: found[0] if found[0].isascii() else b"", value))
    else:
        rewritten = to_ascii(value)
    return spelt + b": " + rewritten


def _addresses(value: bytes) -> bytes:
    entries = parse_address_list(value)
    if not entries:
        return to_ascii(value)
    out: list[bytes] = []
    members: list[bytes] | None = None
    group = b""
    for entry in entries:
        if entry.domain is None and entry.local is not None:
            group, members = _phrase(entry.local), []
        elif entry.domain is None:
            out.append(group + b": " + b", ".join(members or []) + b";")
            members = None
        else:
            (out if members is None else members).append(_mailbox(entry))
    if members is not None:
        out.append(group + b": " + b", ".join(members) + b";")
    return b", ".join(out)


def _mailbox(entry: Entry) -> bytes:
    name = _phrase(entry.name) if entry.name else b""
    local, domain = entry.local or b"", _ascii_domain(entry.domain or b"")
    if local.isascii() and domain is not None:
        if not _ATOM.fullmatch(local):
            local = b'"' + _SPECIAL.sub(rb"\\\1", local) + b'"'
        address = local + b"@" + domain if domain else local
        return name + b" <" + address + b">" if name else address
    # RFC 6857 §3.1.8: a group without members; replying to it is not possible, and must not be.
    shown = encode_words(guess(local + b"@" + (entry.domain or b"")))
    return (name + b" " if name else b"") + shown + b":;"


def _phrase(name: bytes) -> bytes:
    if not name.isascii():
        return encode_words(decode_words(name))
    if _PHRASE.fullmatch(name):
        return name
    return b'"' + _SPECIAL.sub(rb"\\\1", name) + b'"'


def _ascii_domain(domain: bytes) -> bytes | None:
    """A-labels (RFC 6857 §3.1.6); None for what cannot be a domain."""
    if domain.isascii():
        return domain
    try:
        return domain.decode().encode("idna")
    except UnicodeError:
        return None


def _parameterised(value: bytes) -> bytes:
    parsed = parse_parameterised(value)
    if not parsed.main or not parsed.main.isascii():
        return to_ascii(value)
    out = [parsed.main.encode()]
    for name, text in parsed.params.items():
        if not name.isascii():
            continue
        if text.isascii():
            quoted = _SPECIAL.sub(rb"\\\1", text.encode().translate(None, b"\r\n\0"))
            out.append(b'%b="%b"' % (name.encode(), quoted))
        else:
            out.append(b"%b*=utf-8''%b" % (name.encode(), quote(text, safe="", errors="replace").encode()))
    return b"; ".join(out)


def _fold(field: bytes, end_of_line: bytes) -> bytes:
    """Folded between words where a line would be longer than it should (RFC 5322 §2.1.1)."""
    name, _, value = field.partition(b" ")
    lines: list[bytes] = []
    line = name
    for word in value.split(b" "):
        if len(line) + 1 + len(word) > _LINE:
            lines.append(line)
            line = b""
        line = line + b" " + word
    lines.append(line)
    return end_of_line.join(lines) + end_of_line
