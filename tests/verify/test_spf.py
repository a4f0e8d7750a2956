"""SPF beyond the suite: limits, hostile records, addresses (RFC 7208)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.verify.spf.check import MOST_LOOKUPS, Result, SpfVerdict, check_host
from postroom.verify.spf.macros import MacroError, parse_macros
from postroom.verify.spf.record import SyntaxFault, is_record, parse_record
from tests.verify.zones import Zone


async def _check(
    records: dict[str, str], address: str = "192.0.2.1", sender: str = "me@a.example"
) -> SpfVerdict:
    zone = Zone({name: [("TXT", text)] for name, text in records.items()})
    return await check_host(zone, ip_address(address), sender, "helo.example")


async def test_mapped_address_counts_as_ipv4() -> None:
    verdict = await _check({"a.example": "v=spf1 ip4:192.0.2.0/24 -all"}, "::ffff:192.0.2.1")
    assert verdict.result is Result.PASS
    assert verdict.reason == "ip4:192.0.2.0/24"


async def test_null_sender_is_judged_by_helo() -> None:
    verdict = await _check({"helo.example": "v=spf1 exp=why.example -all"}, sender="")
    assert (verdict.result, verdict.domain) == (Result.FAIL, "helo.example")


async def test_includes_in_a_circle_end() -> None:
    verdict = await _check(
        {"a.example": "v=spf1 include:b.example -all", "b.example": "v=spf1 include:a.example -all"}
    )
    assert verdict.result is Result.PERMERROR
    assert str(MOST_LOOKUPS) in verdict.reason


async def test_redirects_in_a_circle_end() -> None:
    verdict = await _check(
        {"a.example": "v=spf1 redirect=b.example", "b.example": "v=spf1 redirect=a.example"}
    )
    assert verdict.result is Result.PERMERROR


async def test_a_hostile_record_asks_little() -> None:
    record = "v=spf1 " + " ".join(f"exists:%{{i}}.{n}.victim.example" for n in range(500)) + " -all"
    zone = Zone({"a.example": [("TXT", record)]})
    verdict = await check_host(zone, ip_address("192.0.2.1"), "me@a.example", "helo.example")
    assert verdict.result is Result.PERMERROR
    assert sum(zone.asked.values()) <= 1 + 3


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 a:%{x}.example", "v=spf1 a:%{d0}.example", "v=spf1 include:", "v=spf1 ip4:1.2.3.4/33", "v=spf1 ip4:1.2.3.4/08",
        "v=spf1 ip6:::1%eth0", "v=spf1 a//129", "v=spf1 all:x.example", "v=spf1 redirect=a.example redirect=b.example",
        "v=spf1 exists:%{c}.example", "v=spf1 mx:toplabel", "v=spf1 include:a.example.1", "v=spf1 a:ü.example", "v=spf1 ptr:",
    ],
)  # fmt: skip
def test_mistakes_are_found(record: str) -> None:
    assert is_record(record.encode())
    with pytest.raises(SyntaxFault):
        parse_record(record.encode())


@given(st.text(alphabet="v=spf1 aimxptrl:%{}/.0123-~?+_=dsoh", max_size=80))
def test_any_record_is_read_or_refused(text: str) -> None:
    try:
        parse_record(b"v=spf1 " + text.encode())
    except SyntaxFault:
        return


@given(st.text(max_size=40), st.text(alphabet="abc.-+,/_=", max_size=60))
def test_any_macro_string_is_read_or_refused(text: str, value: str) -> None:
    try:
        macros = parse_macros(text + "%{l9r-}%{S}")
    except MacroError:
        return
    assert len(macros.domain(dict.fromkeys("slodiphv", value))) <= 253
