"""The openspf suites for RFC 7208 and RFC 4408, read in place."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

import pytest
import yaml

from postroom.verify.spf.check import check_host
from tests.corpus import shared
from tests.verify.zones import Zone


def _zone(data: dict[str, list[Any]]) -> Zone:
    """SPF records stand for TXT records, too, unless the name has some of its own (the suite's convention)."""
    records: dict[str, list[tuple[str, Any]]] = {}
    for name, entries in data.items():
        found: list[tuple[str, Any]] = []
        for entry in entries:
            found += [(entry, None)] if isinstance(entry, str) else list(entry.items())
        if not any(kind == "TXT" for kind, _ in found):
            found += [("TXT", value) for kind, value in found if kind == "SPF"]
        records[name] = [(kind, value) for kind, value in found if value != "NONE"]
    return Zone(records)


def _cases() -> list[Any]:
    base = shared()
    if base is None:
        return []
    found = []
    with (base / "vectors/spf/rfc7208-tests.yml").open(encoding="utf-8") as file:
        for scenario in yaml.safe_load_all(file):
            for name, case in scenario["tests"].items():
                found.append(pytest.param(scenario["zonedata"], case, id=f"{scenario['description']}-{name}"))
    return found


@pytest.mark.parametrize(("zonedata", "case"), _cases())
async def test_suite(zonedata: dict[str, list[Any]], case: dict[str, Any]) -> None:
    verdict = await check_host(
        _zone(zonedata),
        ip_address(case["host"]),
        case["mailfrom"] or "",
        case["helo"] or "",
        receiver="receiver.example",
    )
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert verdict.result.value in wanted, verdict
    if "explanation" in case and case["explanation"] != "DEFAULT":
        assert verdict.explanation == case["explanation"]


def test_suite_is_there_when_the_material_is() -> None:
    if shared() is None:
        pytest.skip("no shared material")
    assert len(_cases()) == 203
    assert asyncio.iscoroutinefunction(check_host)
