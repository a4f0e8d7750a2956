"""Response codes and status responses: writing and parsing (RFC 3501 §7.1, §9 resp-text)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.ext.uidplus import parse_append_uid, parse_copy_uid, write_append_uid, write_copy_uid
from postroom.wire.imap.responses import (
    AppendUid,
    BadCharset,
    CapabilityCode,
    Code,
    CopyUid,
    HighestModseq,
    Kind,
    MailboxIdCode,
    Modified,
    OtherCode,
    PermanentFlags,
    UidNext,
    UidValidity,
    Unseen,
    Word,
)
from postroom.wire.imap.values.atoms import (
    ATOM,
    MAX_NUMBER64,
    parse_astring,
    parse_nz_number,
    write_astring,
)
from postroom.wire.imap.values.flags import parse_reported_flags, write_reported_flags
from postroom.wire.imap.values.objectid import parse_bracketed_id
from postroom.wire.imap.values.sequence import parse_sequence_set

_WORDS: Final = {word.value.encode("ascii"): word for word in Word}
_WRITTEN: Final = {word: word.value.encode("ascii") for word in Word}
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_ARGUMENT: Final = re.compile(rb"[^\]\r\n]+")
_NAME: Final = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]\[]+")
KINDS: Final = {kind.value.encode("ascii"): kind for kind in Kind}
KIND_WORDS: Final = {kind: kind.value.encode("ascii") for kind in Kind}


def write_text(text: str) -> bytes:
    """Human-readable text as one line of printable ASCII (threats S7); never empty, as RFC 3501 §9 text wants."""
    if not text.isascii() or not text.isprintable():
        text = _UNPRINTABLE.sub("?", text)
    return text.encode("ascii") or b"-"


def write_code(code: Code) -> bytes:
    """resp-text-code without its brackets."""
    match code:
        case Word():
            return _WRITTEN[code]
        case UidNext(uid):
            return b"UIDNEXT %d" % uid
        case UidValidity(value):
            return b"UIDVALIDITY %d" % value
        case Unseen(number):
            return b"UNSEEN %d" % number
        case HighestModseq(modseq):
            return b"HIGHESTMODSEQ %d" % modseq
        case Modified(numbers):
            return b"MODIFIED " + numbers.write()
        case PermanentFlags(flags):
            return b"PERMANENTFLAGS " + write_reported_flags(flags)
        case BadCharset(charsets):
            if not charsets:
                return b"BADCHARSET"
            return (
                b"BADCHARSET (" + b" ".join(write_astring(name.encode("ascii")) for name in charsets) + b")"
            )
        case CapabilityCode(names):
            return b"CAPABILITY " + " ".join(names).encode("ascii")
        case AppendUid():
            return write_append_uid(code)
        case MailboxIdCode(identifier):
            return b"MAILBOXID (%b)" % identifier.encode("ascii")
        case CopyUid():
            return write_copy_uid(code)
        case OtherCode(name, argument):
            written = write_text(name).replace(b"]", b"?")
            return written if argument is None else written + b" " + write_text(argument).replace(b"]", b"?")


def write_status(prefix: bytes, kind: Kind, code: Code | None, text: str) -> bytes:
    """A status response with its CRLF; ``prefix`` is the tag or ``*``."""
    if code is None:
        return b"%b %b %b\r\n" % (prefix, KIND_WORDS[kind], write_text(text))
    return b"%b %b [%b] %b\r\n" % (prefix, KIND_WORDS[kind], write_code(code), write_text(text))


def parse_resp_text(cursor: Cursor) -> tuple[Code | None, str]:
    """resp-text: [code] and text, to the end. A code that does not keep its grammar becomes OtherCode."""
    code: Code | None = None
    if cursor.skip(b"["):
        code = _parse_code(cursor)
        cursor.skip(b" ")
    text = cursor.buf[cursor.pos :].decode("utf-8", "replace")
    cursor.pos = cursor.end
    return code, text


def _parse_code(cursor: Cursor) -> Code:
    name = cursor.need(_NAME, "response code").upper()
    word = _WORDS.get(name)
    if word is not None and cursor.skip(b"]"):
        return word
    parse = _CODES.get(name)
    if parse is not None:
        code = parse(cursor)
        cursor.expect(b"]")
        return code
    argument = None
    if cursor.skip(b" "):
        argument = cursor.need(_ARGUMENT, "argument").decode("utf-8", "replace")
    cursor.expect(b"]")
    return OtherCode(name.decode("ascii"), argument)


def _number(make: Callable[[int], Code], most: int = 0xFFFFFFFF) -> Callable[[Cursor], Code]:
    def parse(cursor: Cursor) -> Code:
        cursor.expect(b" ")
        return make(parse_nz_number(cursor, most))

    return parse


def _parse_modified(cursor: Cursor) -> Modified:
    cursor.expect(b" ")
    return Modified(parse_sequence_set(cursor))


def _parse_permanent_flags(cursor: Cursor) -> PermanentFlags:
    cursor.expect(b" ")
    return PermanentFlags(parse_reported_flags(cursor))


def _parse_bad_charset(cursor: Cursor) -> BadCharset:
    names: list[str] = []
    if cursor.skip(b" ("):
        while not cursor.skip(b")"):
            names.append(parse_astring(cursor).decode("ascii", "replace"))
            cursor.skip(b" ")
    return BadCharset(tuple(names))


def parse_capability_names(cursor: Cursor) -> tuple[str, ...]:
    """*(SP capability)."""
    names: list[str] = []
    while cursor.skip(b" "):
        name = cursor.match(ATOM)
        if name is None:
            break  # quirk: servers that end the list with a space
        names.append(name.decode("ascii"))
    return tuple(names)


_CODES: Final[dict[bytes, Callable[[Cursor], Code]]] = {
    b"UIDNEXT": _number(UidNext),
    b"UIDVALIDITY": _number(UidValidity),
    b"UNSEEN": _number(Unseen),
    b"HIGHESTMODSEQ": _number(HighestModseq, MAX_NUMBER64),
    b"MODIFIED": _parse_modified,
    b"PERMANENTFLAGS": _parse_permanent_flags,
    b"BADCHARSET": _parse_bad_charset,
    b"CAPABILITY": lambda cursor: CapabilityCode(parse_capability_names(cursor)),
    b"APPENDUID": parse_append_uid,
    b"COPYUID": parse_copy_uid,
    b"MAILBOXID": lambda cursor: MailboxIdCode(parse_bracketed_id(cursor)),
}
