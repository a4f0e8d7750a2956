"""mbox files, in the "mboxrd" variant both ways.

Each message follows a line ``From sender date`` (RFC 4155 Appendix A, the date in UTC) and is followed by an empty line;
lines of the message that begin with ``From ``, with any number of ``>`` before it, have one more ``>`` in front.

Flags are kept as other programs know them: in Status, X-Status and X-Keywords fields. The writer puts them first and only
where there are any; the reader takes fields in that place away again, so that the octets come back as they were.

Not kept: the zone of the internal date; a message that ends in a bare CR; the keywords' exact order.
"""

from __future__ import annotations

import calendar
import mmap
import re
import time
from collections.abc import Iterator
from typing import Final

from postroom.cli.formats.archived import ArchivedMessage, Item, Skipped, header_date, with_mail_line_ends
from postroom.model.flags import SystemFlag

Buffer = bytes | mmap.mmap

_QUOTE: Final = re.compile(rb"^(>*From )", re.MULTILINE)
_UNQUOTE: Final = re.compile(rb"^>(>*From )", re.MULTILINE)
_DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH_NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_MAX_FROM_LINE: Final = 2048
_MAX_HEADER: Final = 1024 * 1024

_STATUS_FIELDS: Final = {b"status": 0, b"x-status": 1, b"x-keywords": 2}
"""In the order in which the writer puts them."""
_STATUS_LINE: Final = re.compile(
    rb"^[ \t]*(?:Status|X-Status|X-Keywords)[ \t]*:", re.IGNORECASE | re.MULTILINE
)
_X_STATUS: Final = (
    (SystemFlag.ANSWERED, "A"),
    (SystemFlag.FLAGGED, "F"),
    (SystemFlag.DRAFT, "T"),
    (SystemFlag.DELETED, "D"),
)


# --- reading


def read_mbox(buffer: Buffer, folder: str = "", limit: int = 0) -> Iterator[Item]:
    """The messages of an mbox file; a message of more than ``limit`` octets (0: none) is skipped, not read.

    Raises ValueError when the file does not begin as an mbox file does.
    """
    begin = 0
    while buffer[begin : begin + 1] in (b"\n", b"\r"):
        begin += 1
    if begin >= len(buffer):
        return
    if buffer[begin : begin + 5] != b"From ":
        raise ValueError('not an mbox file: it does not begin with "From "')
    while begin < len(buffer):
        line_end = buffer.find(b"\n", begin)
        if line_end < 0:
            return
        end = _next_message(buffer, line_end)
        yield _message(buffer, begin, line_end + 1, end, folder, limit)
        begin = end


def count_mbox(buffer: Buffer) -> int:
    """How many messages ``read_mbox`` would give, without looking into them."""
    begin, count = buffer.find(b"From "), 0
    while 0 <= begin < len(buffer):
        line_end = buffer.find(b"\n", begin)
        if line_end < 0:
            break
        count += 1
        begin = _next_message(buffer, line_end)
    return count


def _next_message(buffer: Buffer, position: int) -> int:
    """Where the next ``From `` line begins: after an empty line, and with a date, for the sake of other variants."""
    while True:
        found = buffer.find(b"\nFrom ", position)
        if found < 0:
            return len(buffer)
        if buffer[found - 1 : found] == b"\n" or buffer[found - 2 : found] == b"\n\r":
            line_end = buffer.find(b"\n", found + 1, found + _MAX_FROM_LINE)
            if line_end > 0 and from_line_date(buffer[found + 1 : line_end]) is not None:
                return found + 1
        position = found + 1


def _message(buffer: Buffer, begin: int, body: int, end: int, folder: str, limit: int) -> Item:
    key = str(begin)
    if limit and end - body > limit + limit // 16 + 1024:  # quoting may have added to it
        return Skipped(folder, key, f"message of {end - body} octets is over the limit")
    octets = buffer[body:end]
    if octets.endswith(b"\r\n\r\n"):
        octets = octets[:-2]
    elif octets.endswith(b"\n\n") or octets == b"\n":
        octets = octets[:-1]
    first = octets.find(b"\n")
    exact = first > 0 and octets[first - 1 : first] == b"\r"
    if exact and octets.endswith(b"\n") and not octets.endswith(b"\r\n"):
        octets = octets[:-1]  # the writer ended the last line
    octets = _UNQUOTE.sub(rb"\1", octets)
    flags, keywords, rest = _take_status(octets)
    octets = with_mail_line_ends(rest)
    if limit and len(octets) > limit:
        return Skipped(folder, key, f"message of {len(octets)} octets is over the limit")
    date = from_line_date(buffer[begin : min(body - 1, begin + _MAX_FROM_LINE)])
    return ArchivedMessage(
        folder, key, octets, header_date(octets) if date is None else date, 0, flags, keywords
    )


def _take_status(octets: bytes) -> tuple[SystemFlag, tuple[str, ...], bytes]:
    """Flags and keywords from the status fields, and the octets without those that the writer put first.

    The writer puts each field at most once, in the order of _STATUS_FIELDS: what comes after is the message's own, and
    does not count where the writer had something to say.
    """
    flags = SystemFlag.NONE
    keywords: tuple[str, ...] = ()
    position = rest = 0
    leading = -1
    while position < _MAX_HEADER:
        end = octets.find(b"\n", position)
        line = octets[position : max(end, position)].rstrip(b"\r")
        name, colon, value = line.partition(b":")
        if end < 0 or not line:
            break
        position = end + 1
        number = _STATUS_FIELDS.get(name.strip().lower(), -1) if colon else -1
        if number <= leading and rest:
            break
        text = value.decode("utf-8", "replace").strip()
        match number:
            case 0:
                flags |= SystemFlag.SEEN if "R" in text else SystemFlag.NONE
            case 1:
                flags |= _from_letters(text)
            case 2:
                keywords = tuple(sorted({*keywords, *text.split()}))
            case _:
                pass
        if number > leading:
            rest, leading = position, number
        else:
            leading = len(_STATUS_FIELDS)
    return flags, keywords, octets[rest:]


def _from_letters(text: str) -> SystemFlag:
    flags = SystemFlag.NONE
    for flag, letter in _X_STATUS:
        if letter in text:
            flags |= flag
    return flags


def from_line_date(line: bytes) -> int | None:
    """The date of a ``From `` line in seconds since 1970: ``Thu Nov 23 07:45:59 2026``, a numeric zone allowed."""
    words = line[:_MAX_FROM_LINE].decode("latin-1").split()
    for at, word in enumerate(words[2:], 2):
        if word in _MONTHS and at + 3 < len(words):
            return _date(_MONTHS[word], words[at + 1 :])
    return None


def _date(month: int, words: list[str]) -> int | None:
    """The day, time, year and perhaps zone that follow the month."""
    day, clock, year, zone = words[0], "", "", ""
    for word in words[1:]:
        if word.count(":") in (1, 2):
            clock = clock or word
        elif len(word) == 4 and word.isascii() and word.isdigit():
            year = year or word
        elif len(word) == 5 and word[0] in "+-" and word[1:].isascii() and word[1:].isdigit():
            zone = zone or word
    try:
        hours, minutes, seconds = (*map(int, clock.split(":")), 0)[:3]
        if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds <= 60 and 1 <= int(day) <= 31):
            return None
        stamp = calendar.timegm((int(year), month, int(day), hours, minutes, seconds))
    except (ValueError, OverflowError):
        return None
    if not zone:
        return stamp
    offset = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    return stamp - offset if zone[0] == "+" else stamp + offset


# --- writing


def mbox_record(message: ArchivedMessage, sender: str = "", *, status: bool = True) -> bytes:
    """One message as it stands in an mbox file. ``status`` False leaves flags and keywords out."""
    good = sender and sender.isascii() and sender.isprintable() and " " not in sender
    when = time.gmtime(message.internal_date or 0)
    stamp = (
        f"{_DAY_NAMES[when.tm_wday]} {_MONTH_NAMES[when.tm_mon - 1]} {when.tm_mday:2} "
        f"{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02} {when.tm_year:04}"
    )
    octets = message.octets
    end = b"\n" if octets.endswith(b"\r\n") or not octets else b"\n\n"
    head = f"From {sender if good else 'MAILER-DAEMON'} {stamp}\n".encode("ascii")
    fields = _status_fields(message) if status else b""
    return head + fields + _QUOTE.sub(rb">\1", octets) + end


def _status_fields(message: ArchivedMessage) -> bytes:
    flags = message.flags
    letters = "".join(letter for flag, letter in _X_STATUS if flags & flag)
    seen = "RO" if flags & SystemFlag.SEEN else ""
    values = (seen, letters, " ".join(message.keywords))
    # A message with such fields of its own gets all of ours in front, so that the reader stops in time.
    head = message.octets[: message.octets.find(b"\r\n\r\n") + 1 or _MAX_HEADER]
    has_its_own = _STATUS_LINE.search(head) is not None
    names = ("Status", "X-Status", "X-Keywords")
    lines = [
        f"{name}: {value}\r\n" for name, value in zip(names, values, strict=True) if value or has_its_own
    ]
    return "".join(lines).encode("utf-8", "replace")
