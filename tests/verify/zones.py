"""A Resolver over records that a test writes down."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from postroom.verify.resolver import Answer, Mx, ResolutionFailed, Srv, Tlsa


class Zone:
    """``records`` by name in lower case: a list of (type, value); the type TIMEOUT makes the name's other types fail."""

    def __init__(self, records: dict[str, list[tuple[str, Any]]], *, secure: bool = False) -> None:
        self._records = {name.lower().removesuffix("."): found for name, found in records.items()}
        self._secure = secure
        self.asked: Counter[tuple[str, str]] = Counter()

    def _find(self, name: str, kind: str) -> tuple[list[Any], bool]:
        name = name.lower().removesuffix(".")
        self.asked[kind, name] += 1
        if not name or any(not 0 < len(label) <= 63 for label in name.split(".")):
            raise AssertionError(f"nobody may ask for {name!r}")
        found: list[tuple[str, Any]] | None = []
        for _ in range(10):
            found = self._records.get(name)
            if found is None:
                # A name exists when one below it does.
                return [], any(other.endswith("." + name) for other in self._records)
            aliases = [value for each, value in found if each == "CNAME"]
            if not aliases:
                break
            name = aliases[0].lower().removesuffix(".")
        assert found
        values = [value for each, value in found if each == kind]
        if not values and any(each == "TIMEOUT" for each, _ in found):
            raise ResolutionFailed(f"{name} timed out")
        return values, True

    async def ipv4(self, name: str) -> Answer[IPv4Address]:
        values, exists = self._find(name, "A")
        return Answer(tuple(map(IPv4Address, values)), exists, self._secure)

    async def ipv6(self, name: str) -> Answer[IPv6Address]:
        values, exists = self._find(name, "AAAA")
        return Answer(tuple(map(IPv6Address, values)), exists, self._secure)

    async def mx(self, name: str) -> Answer[Mx]:
        values, exists = self._find(name, "MX")
        found = tuple(Mx(preference, host.removesuffix(".")) for preference, host in values)
        return Answer(found, exists, self._secure)

    async def txt(self, name: str) -> Answer[bytes]:
        values, exists = self._find(name, "TXT")
        return Answer(tuple(octets(value) for value in values), exists, self._secure)

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        values, exists = self._find(ip_address(str(address)).reverse_pointer, "PTR")
        return Answer(tuple(value.removesuffix(".") for value in values), exists, self._secure)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        values, exists = self._find(name, "TLSA")
        return Answer(tuple(values), exists, self._secure)

    async def srv(self, name: str) -> Answer[Srv]:
        values, exists = self._find(name, "SRV")
        return Answer(tuple(values), exists, self._secure)


def octets(value: str | bytes | list[str]) -> bytes:
    """A TXT record's strings, joined."""
    if isinstance(value, list):
        return b"".join(map(octets, value))
    return value if isinstance(value, bytes) else value.encode("latin-1" if value.isascii() else "utf-8")
