"""Dates of mail: RFC 5322 §3.3 with its obsolete forms, and IMAP's date-time (RFC 3501 §9).

Invariants: parsing never raises and gives None for what is no date; years 1900 to 9999. Times are seconds since 1970
UTC, zones minutes east of UTC, days the number of days since 1970. Writing is independent of any locale.

It must not know: the clock.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

from postroom.mime.parameters import strip_comments

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBER: Final = {name.lower().encode("ascii"): number for number, name in enumerate(_MONTHS, 1)}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH: Final = dt.date(1970, 1, 1).toordinal()

# RFC 5322 §4.3; military letters and unknown names mean +0000 there.
_ZONES: Final = {
    b"ut": 0, b"gmt": 0, b"utc": 0, b"z": 0,
    b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300, b"mst": -420, b"mdt": -360, b"pst": -480, b"pdt": -420,
    # quirk: European senders of the 1990s and 2000s name their zones too
    b"wet": 0, b"bst": 60, b"west": 60, b"cet": 60, b"met": 60, b"mez": 60, b"cest": 120, b"mest": 120, b"mesz": 120,
    b"eet": 120, b"eest": 180, b"msk": 180, b"jst": 540,
}  # fmt: skip

_DATE: Final = re.compile(
    rb"\s*(?:[A-Za-z]{2,12}\.?,?\s*)?"  # day of the week, comma forgotten or not
    rb"([0-9]{1,2})(?:\s+|-)([A-Za-z]{3})[A-Za-z]{0,7}\.?,?(?:\s+|-)([0-9]{2,4})"
    rb"(?:,?\s+([0-9]{1,2})\s*[:.]\s*([0-9]{2})(?:\s*[:.]\s*([0-9]{2}))?(?:[.,][0-9]{1,9})?"
    rb"\s*(?:([AaPp])[Mm]\b)?\s*(?:[A-Za-z]{3}(?=[+-][0-9]{4}))?\s*([+-][0-9]{4}|[+-][0-9]{2}:[0-9]{2}|\"?[A-Za-z]{1,5}\"?)?)?"
)
# quirk: asctime(3) in a Date field: "Tue Mar  5 12:00:00 2002"
_ASCTIME: Final = re.compile(
    rb"\s*(?:[A-Za-z]{3,9},?\s+)?([A-Za-z]{3})[a-z]{0,6}\s+([0-9]{1,2}),?\s+"
    rb"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?\s+(?:([A-Za-z]{1,5}|[+-][0-9]{4})\s+)?([0-9]{4})(?:\s+([+-][0-9]{4}))?"
)


@dataclass(slots=True)
class Instant:
    """A parsed date: ``epoch`` seconds since 1970 UTC, ``zone`` minutes east, ``day`` the local day since 1970."""

    epoch: int
    zone: int
    day: int


def _zone(text: bytes | None) -> int:
    if not text:
        return 0
    if text[0] in b"+-":
        digits = text[1:].replace(b":", b"")
        hours, minutes = int(digits[:2]), int(digits[2:4])
        if hours > 23 or minutes > 59:
            return 0
        return -(hours * 60 + minutes) if text[:1] == b"-" else hours * 60 + minutes
    return _ZONES.get(text.strip(b'"').lower(), 0)


def _year(text: bytes) -> int:
    """Years of two and three digits as RFC 5322 §4.3 reads them."""
    year = int(text)
    if len(text) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(text) == 3 else year


def _instant(year: int, month: int, day: int, clock: tuple[int, int, int], zone: int) -> Instant | None:
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 60 or year < 1900:
        return None
    try:
        number = dt.date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    return Instant(number * 86400 + hour * 3600 + minute * 60 + min(second, 59) - zone * 60, zone, number)


def parse_date(value: bytes) -> Instant | None:
    """A Date field's value (RFC 5322 §3.3, §4.3), or None. A date without a time means midnight."""
    if len(value) > 1000:
        value = value[:1000]
    if b"  " in value or b"\t" in value:
        value = b" ".join(value.split())  # single spaces leave the patterns nothing to try twice
    match = _DATE.match(value)
    if match is None or (match[4] is None and b"(" in value):
        if b"(" in value:
            value = strip_comments(value)
            match = _DATE.match(value)
        if match is None:
            return _parse_asctime(value)
    day, name, year, hour, minute, second, half, zone = match.groups()
    month = _MONTH_NUMBER.get(name.lower())
    if month is None:
        return None
    hours = int(hour or 0)
    if half and 1 <= hours <= 12:
        hours = hours % 12 + (12 if half in b"pP" else 0)
    return _instant(_year(year), month, int(day), (hours, int(minute or 0), int(second or 0)), _zone(zone))


def _parse_asctime(value: bytes) -> Instant | None:
    match = _ASCTIME.match(value)
    if match is None:
        return None
    name, day, hour, minute, second, zone, year, offset = match.groups()
    month = _MONTH_NUMBER.get(name.lower())
    if month is None:
        return None
    return _instant(
        int(year), month, int(day), (int(hour), int(minute), int(second or 0)), _zone(offset or zone)
    )


def _civil(epoch: int, zone: int) -> tuple[dt.date, int, int, int]:
    day, second = divmod(epoch + zone * 60, 86400)
    day = min(max(day + _EPOCH, 1), 3652059)  # years 1 to 9999
    return dt.date.fromordinal(day), second // 3600, second // 60 % 60, second % 60


def format_zone(zone: int) -> str:
    """``+hhmm``."""
    return f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02d}{abs(zone) % 60:02d}"


def format_date(epoch: int, zone: int = 0) -> str:
    """The date-time of a Date or Received field (RFC 5322 §3.3)."""
    date, hour, minute, second = _civil(epoch, zone)
    return (
        f"{_DAYS[date.weekday()]}, {date.day} {_MONTHS[date.month - 1]} {date.year:04d} "
        f"{hour:02d}:{minute:02d}:{second:02d} {format_zone(zone)}"
    )


def format_internal_date(epoch: int, zone: int = 0) -> str:
    """IMAP's date-time, without its quotes: `` 5-Mar-2002 12:00:00 +0000`` (RFC 3501 §9 date-time)."""
    date, hour, minute, second = _civil(epoch, zone)
    return (
        f"{date.day:2d}-{_MONTHS[date.month - 1]}-{date.year:04d} "
        f"{hour:02d}:{minute:02d}:{second:02d} {format_zone(zone)}"
    )


_INTERNAL: Final = re.compile(
    rb"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-][0-9]{4})\Z"
)


def parse_internal_date(value: bytes) -> Instant | None:
    """IMAP's date-time, without its quotes (RFC 3501 §9 date-time), or None."""
    match = _INTERNAL.match(value)
    if match is None:
        return None
    day, name, year, hour, minute, second, zone = match.groups()
    month = _MONTH_NUMBER.get(name.lower())
    if month is None or int(zone[3:]) > 59 or int(zone[1:3]) > 23:
        return None
    return _instant(int(year), month, int(day), (int(hour), int(minute), int(second)), _zone(zone))
