"""check_host (RFC 7208 §4): the verdict on an address that sends for a domain.

Invariants:
- At most 10 terms ask the DNS, at most 2 of their questions find nothing, at most 10 names of an MX or PTR are looked at
  (§4.6.4): beyond is permerror (PTR: ignored). So the work is bounded, whatever records say.
- Terms are evaluated in order, one question at a time: an earlier match spares the rest.

It must not know: sockets, clocks (``now`` is given), messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from postroom.verify.resolver import Answer, ResolutionFailed, Resolver
from postroom.verify.spf.macros import MacroError, MacroString, parse_macros
from postroom.verify.spf.record import Mechanism, SpfRecord, SyntaxFault, is_record, parse_record

MOST_LOOKUPS: Final = 10
MOST_VOID: Final = 2
MOST_NAMES: Final = 10
_LONGEST_LABEL: Final = 63
_LABEL: Final = re.compile(r"[^.\x00-\x20\x7f]{1,63}")

Address = IPv4Address | IPv6Address


class Result(Enum):
    """RFC 7208 §2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(slots=True, frozen=True)
class SpfVerdict:
    """``reason`` says in plain words what decided (a mechanism, or what went wrong); ``explanation`` is the domain owner's text
    for a fail, or empty (§6.2); ``domain`` is the one that was checked."""

    result: Result
    domain: str
    reason: str = ""
    explanation: str = ""


_QUALIFIERS: Final = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}


class _StopError(Exception):
    """Evaluation ends with this result."""

    def __init__(self, result: Result, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


@dataclass(slots=True)
class _Query:
    """What stays the same through includes and redirects."""

    resolver: Resolver
    address: Address
    local: str
    sender_domain: str
    helo: str
    receiver: str
    now: int
    lookups: int = 0
    void: int = 0
    names: list[str] | None = None
    validated: dict[str, str] = field(default_factory=dict)

    def count_lookup(self) -> None:
        self.lookups += 1
        if self.lookups > MOST_LOOKUPS:
            raise _StopError(Result.PERMERROR, f"more than {MOST_LOOKUPS} terms that ask the DNS")

    def count_void(self) -> None:
        self.void += 1
        if self.void > MOST_VOID:
            raise _StopError(Result.PERMERROR, f"more than {MOST_VOID} questions without an answer")

    async def has_ipv4(self, name: str) -> bool:
        found = (await self.resolver.ipv4(name)).records
        if not found:
            self.count_void()
        return bool(found)


async def check_host(
    resolver: Resolver, address: Address, sender: str, helo: str, *, receiver: str = "unknown", now: int = 0
) -> SpfVerdict:
    """The verdict on MAIL FROM ``sender`` ("" for the null reverse-path, which is judged by ``helo`` as postmaster, §2.4).

    An IPv4-mapped address counts as IPv4 (§5). Never raises but for cancellation.
    """
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    local, _, domain = sender.rpartition("@") if sender else ("", "", helo)
    query = _Query(resolver, address, local or "postmaster", domain, helo, receiver, now)
    domain = domain.removesuffix(".")
    if not _is_domain(domain):
        return SpfVerdict(Result.NONE, domain, "no domain that could be asked")
    try:
        result, reason, explanation = await _evaluate(query, domain, top=True)
    except _StopError as stop:
        return SpfVerdict(stop.result, domain, stop.reason)
    except ResolutionFailed as error:
        return SpfVerdict(Result.TEMPERROR, domain, str(error))
    return SpfVerdict(result, domain, reason, explanation)


def _is_domain(name: str) -> bool:
    """A name of several labels (§4.3)."""
    labels = name.split(".")
    return len(labels) > 1 and len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


async def _evaluate(query: _Query, domain: str, *, top: bool) -> tuple[Result, str, str]:
    """check_host for a domain, redirects followed."""
    while True:
        record = await _record(query, domain)
        if record is None:
            return Result.NONE, f"{domain} has no SPF record", ""
        for mechanism in record.mechanisms:
            if await _matches(query, domain, mechanism):
                result = _QUALIFIERS[mechanism.qualifier]
                explain = top and result is Result.FAIL and record.explanation is not None
                explanation = await _explanation(query, domain, record.explanation) if explain else ""
                return result, mechanism.text, explanation
        if record.redirect is None:
            return Result.NEUTRAL, "nothing matched", ""
        query.count_lookup()
        target = await _target(query, domain, record.redirect)
        if not _is_domain(target) or await _record(query, target) is None:
            raise _StopError(Result.PERMERROR, f"redirect={record.redirect.text} leads nowhere")
        domain = target


async def _record(query: _Query, domain: str) -> SpfRecord | None:
    """The one record of a domain (§4.4, §4.5)."""
    answer = await query.resolver.txt(domain)
    found = [text for text in answer.records if is_record(text)]
    if len(found) > 1:
        raise _StopError(Result.PERMERROR, f"{domain} has {len(found)} SPF records")
    if not found:
        return None
    try:
        return parse_record(found[0])
    except SyntaxFault as error:
        raise _StopError(Result.PERMERROR, f"{domain}: {error}") from error


async def _matches(query: _Query, domain: str, mechanism: Mechanism) -> bool:
    name = mechanism.name
    if name == "all":
        return True
    if name in {"ip4", "ip6"}:
        assert mechanism.network is not None
        return _within(query.address, mechanism.network, mechanism)
    query.count_lookup()
    target = domain if mechanism.target is None else await _target(query, domain, mechanism.target)
    if name == "include":
        return await _includes(query, target, mechanism)
    if not _can_be_asked(target):
        return False
    if name == "exists":
        return await query.has_ipv4(target)
    if name == "ptr":
        return await _has_name(query, target)
    if name == "a":
        return await _has_address(query, target, mechanism)
    exchanges = (await query.resolver.mx(target)).records
    if not exchanges:
        query.count_void()
    if len(exchanges) > MOST_NAMES:
        raise _StopError(Result.PERMERROR, f"{target} has more than {MOST_NAMES} MX records")
    for exchange in sorted(exchanges, key=lambda mx: mx.preference):
        if exchange.host and await _has_address(query, exchange.host, mechanism, count=False):
            return True
    return False


async def _includes(query: _Query, target: str, mechanism: Mechanism) -> bool:
    """§5.2: the result of the other domain becomes match or no match."""
    if not _is_domain(target):
        raise _StopError(Result.PERMERROR, f"{mechanism.text} names no domain")
    result, reason, _ = await _evaluate(query, target, top=False)
    if result is Result.NONE:
        raise _StopError(Result.PERMERROR, f"{mechanism.text}: {reason}")
    return result is Result.PASS


async def _has_address(query: _Query, name: str, mechanism: Mechanism, *, count: bool = True) -> bool:
    answer: Answer[IPv4Address] | Answer[IPv6Address]
    if isinstance(query.address, IPv4Address):
        answer = await query.resolver.ipv4(name)
    else:
        answer = await query.resolver.ipv6(name)
    if count and not answer.records:
        query.count_void()
    return any(_within(query.address, found, mechanism) for found in answer.records)


def _within(address: Address, network: Address, mechanism: Mechanism) -> bool:
    if address.version != network.version:
        return False
    bits = mechanism.prefix4 if address.version == 4 else mechanism.prefix6
    return address in ip_network(
        (int(network), bits) if address.version == 4 else (network, bits), strict=False
    )


async def _has_name(query: _Query, target: str) -> bool:
    """§5.5: a validated name of the client is the target or ends with it."""
    wanted = target.lower()
    return any(name == wanted or name.endswith("." + wanted) for name in await _validated_names(query))


async def _validated_names(query: _Query) -> list[str]:
    """Names of the client that lead back to it; failures to find out count as none."""
    if query.names is None:
        query.names = []
        try:
            answer = await query.resolver.ptr(query.address)
        except ResolutionFailed:
            return query.names
        for name in answer.records[:MOST_NAMES]:
            try:
                back: Answer[IPv4Address] | Answer[IPv6Address]
                if isinstance(query.address, IPv4Address):
                    back = await query.resolver.ipv4(name)
                else:
                    back = await query.resolver.ipv6(name)
            except ResolutionFailed:
                continue
            if query.address in back.records:
                query.names.append(name.lower().removesuffix("."))
    return query.names


async def _target(query: _Query, domain: str, macros: MacroString) -> str:
    return macros.domain(await _values(query, domain, macros.letters))


def _can_be_asked(name: str) -> bool:
    """Whether a name that macros gave fits into a question; one that does not, does not exist."""
    return bool(name) and all(0 < len(label) <= _LONGEST_LABEL for label in name.split("."))


async def _values(query: _Query, domain: str, letters: set[str]) -> dict[str, str]:
    """What the macros of §7.2 stand for here."""
    address = query.address
    dotted = str(address) if address.version == 4 else ".".join(f"{int(address):032X}")
    values = {
        "s": f"{query.local}@{query.sender_domain}",
        "l": query.local,
        "o": query.sender_domain,
        "d": domain,
        "i": dotted,
        "p": "unknown",
        "v": "in-addr" if address.version == 4 else "ip6",
        "h": query.helo,
        "c": str(address),
        "r": query.receiver,
        "t": str(query.now),
    }
    if "p" in letters:
        values["p"] = await _best_name(query, domain)
    return values


async def _best_name(query: _Query, domain: str) -> str:
    """%{p}: the domain itself, else one below it, else any validated name (§7.3)."""
    names = await _validated_names(query)
    wanted = domain.lower()
    below = [name for name in names if name.endswith("." + wanted)]
    if wanted in names:
        return wanted
    return (below or names or ["unknown"])[0]


async def _explanation(query: _Query, domain: str, macros: MacroString | None) -> str:
    """The text behind exp=, or nothing when anything is wrong with it (§6.2)."""
    assert macros is not None
    try:
        name = await _target(query, domain, macros)
        if not _can_be_asked(name):
            return ""
        texts = (await query.resolver.txt(name)).records
        if len(texts) != 1:
            return ""
        text = parse_macros(texts[0].decode("ascii"), explaining=True)
        return text.expand(await _values(query, domain, text.letters))
    except (ResolutionFailed, MacroError, UnicodeDecodeError):
        return ""
