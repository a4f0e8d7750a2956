"""Dates: INTERNALDATE's date-time and the day of search keys (RFC 3501 §9 date-time, date).

Seconds count from 1970-01-01 UTC, days from 1970-01-01, zones are minutes east of UTC. No clock is read here.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.errors import ParseError

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MONTH_NAMES: Final = (
    b"Jan",
    b"Feb",
    b"Mar",
    b"Apr",
    b"May",
    b"Jun",
    b"Jul",
    b"Aug",
    b"Sep",
    b"Oct",
    b"Nov",
    b"Dec",
)
_MONTHS: Final = {name.lower(): number for number, name in enumerate(_MONTH_NAMES, 1)}
_DATE_TIME: Final = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
_DATE: Final = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")
FIRST_DAY: Final = date.min.toordinal() - _EPOCH
LAST_DAY: Final = date.max.toordinal() - _EPOCH


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; raises ParseError for a day that is not in the calendar."""
    try:
        return date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        raise ParseError("no such date") from None


def parse_date_time(cursor: Cursor) -> tuple[int, int]:
    """date-time with its quotes, as (seconds since 1970 UTC, zone in minutes)."""
    found = _DATE_TIME.match(cursor.buf, cursor.pos)
    if found is None:
        cursor.fail("bad date-time")
    day, month, year, hour, minute, second, sign, zone_hour, zone_minute = found.groups()
    number = _MONTHS.get(month.lower(), 0)
    clock = int(hour), int(minute), int(second)
    if not number or clock[0] > 23 or clock[1] > 59 or clock[2] > 60 or int(zone_minute) > 59:
        cursor.fail("date-time out of range")
    zone = int(zone_hour) * 60 + int(zone_minute)
    if sign == b"-":
        zone = -zone
    days = day_number(int(year), number, int(day))
    cursor.pos = found.end()
    return days * 86400 + clock[0] * 3600 + clock[1] * 60 + clock[2] - zone * 60, zone


def write_date_time(seconds: int, zone: int = 0) -> bytes:
    """date-time with its quotes. A moment outside the years 1 to 9999 is brought to the nearest that can be written."""
    days, rest = divmod(seconds + zone * 60, 86400)
    if not FIRST_DAY <= days <= LAST_DAY:
        days, rest = (FIRST_DAY, 0) if days < FIRST_DAY else (LAST_DAY, 86399)
    day = date.fromordinal(days + _EPOCH)
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    east = abs(zone)
    return b'"%2d-%b-%04d %02d:%02d:%02d %b%02d%02d"' % (
        day.day,
        _MONTH_NAMES[day.month - 1],
        day.year,
        hour,
        minute,
        second,
        b"-" if zone < 0 else b"+",
        east // 60,
        east % 60,
    )


def parse_date(cursor: Cursor) -> int:
    """date of a search key, quoted or not, as days since 1970."""
    quoted = cursor.skip(b'"')
    found = _DATE.match(cursor.buf, cursor.pos)
    if found is None:
        cursor.fail("bad date")
    day, month, year = found.groups()
    number = _MONTHS.get(month.lower(), 0)
    if not number:
        cursor.fail("bad month")
    days = day_number(int(year), number, int(day))
    cursor.pos = found.end()
    if quoted:
        cursor.expect(b'"')
    return days


def write_date(days: int) -> bytes:
    """date without quotes; ``days`` since 1970, from the year 1 to 9999."""
    day = date.fromordinal(days + _EPOCH)
    return b"%d-%b-%04d" % (day.day, _MONTH_NAMES[day.month - 1], day.year)
