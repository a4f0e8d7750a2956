"""Dates (RFC 5322 §3.3, §4.3; RFC 3501 §9)."""

from __future__ import annotations

import datetime as dt
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.date import format_date, format_internal_date, parse_date, parse_internal_date


@pytest.mark.parametrize(
    ("value", "epoch", "zone"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360),
        (b"21 Nov 97 09:55:06 GMT", 880106106, 0),
        (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360),
        (b"Thu,\t13\tFeb\t1969\t23:32\t-0330 (Newfoundland Time)", -27723480, -210),
        (b"Tue, 5 Mar 2002 12:00:00 EST", 1015347600, -300),
        (b"Tue, 5 Mar 2002 12:00:00 EDT", 1015344000, -240),
        (b"5 Mar 02 12:00 Z", 1015329600, 0),
        (b"5 Mar 102 12:00 Z", 1015329600, 0),
        (b"5 Mar 49 12:00:00 +0000", 2498558400, 0),
        (b"5 Mar 50 12:00:00 +0000", -625665600, 0),
        (b"Tue, 05-Mar-2002 12:00:00 +0000", 1015329600, 0),
        (b"Tue Mar  5 12:00:00 2002", 1015329600, 0),
        (b"Tue Mar  5 12:00:00 CET 2002", 1015326000, 60),
        (b"Tue, 5 Mar 2002 12:00:00 +0100 (CET)", 1015326000, 60),
        (b"Tue, 5 March 2002 12:00:00 +01:00", 1015326000, 60),
        (b"Tue, 5 Mar 2002 12.00.00 +0000", 1015329600, 0),
        (b"Tue, 5 Mar 2002 12:00:00", 1015329600, 0),
        (b"Tue, 5 Mar 2002", 1015286400, 0),
        (b"Tue, 5 Mar 2002 12:00:60 +0000", 1015329659, 0),
        (b"Tue, 5 Mar 2002 12:00:00 +9999", 1015329600, 0),
        (b"Tue, 5 Mar 2002 01:00:00 PM +0000", 1015333200, 0),
        (b"Tue, 5 Mar 2002 12:00:00 GMT+0100", 1015326000, 60),
    ],
)
def test_forms(value: bytes, epoch: int, zone: int) -> None:
    found = parse_date(value)
    assert found is not None
    assert (found.epoch, found.zone) == (epoch, zone)
    assert found.day == (epoch + zone * 60) // 86400


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"31 Feb 2002 12:00:00 +0000",
        b"5 Xyz 2002 12:00:00 +0000",
        b"5 Mar 2002 25:00:00 +0000",
        b"0 Mar 2002 1:00 Z",
        b"5 Mar 1800 12:00 Z",
        b"(" * 5000,
        b"5" * 5000,
    ],
)
def test_no_dates(value: bytes) -> None:
    assert parse_date(value) is None


_EPOCHS = st.integers(-2_000_000_000, 250_000_000_000)
_ZONES = st.integers(-14 * 60, 14 * 60)


@given(_EPOCHS, _ZONES)
def test_written_dates_come_back(epoch: int, zone: int) -> None:
    written = format_date(epoch, zone)
    found = parse_date(written.encode())
    assert found is not None
    assert (found.epoch, found.zone) == (epoch, zone)
    oracle = email.utils.parsedate_to_datetime(written)
    assert oracle == dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=epoch)


@given(_EPOCHS, _ZONES)
def test_internal_dates_come_back(epoch: int, zone: int) -> None:
    written = format_internal_date(epoch, zone)
    assert len(written) == 26
    found = parse_internal_date(written.encode())
    assert found is not None
    assert (found.epoch, found.zone) == (epoch, zone)


def test_internal_date_example() -> None:
    assert format_internal_date(837596665, -420) == "17-Jul-1996 02:44:25 -0700"
    assert parse_internal_date(b"17-Jul-1996 02:44:25 -0700") == parse_date(b"17 Jul 1996 02:44:25 -0700")
    for broken in (
        b"17-Jul-1996 02:44:25",
        b"32-Jul-1996 02:44:25 -0700",
        b"17-Xxx-1996 02:44:25 -0700",
        b"17-Jul-1996 02:44:25 -0760",
    ):
        assert parse_internal_date(broken) is None


@given(st.binary(max_size=100))
def test_any_octets(value: bytes) -> None:
    parse_date(value)
    parse_internal_date(value)
