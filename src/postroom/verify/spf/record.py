"""The text of an SPF record (RFC 7208 §4.6, §12).

Invariants: a record is read whole before any of it is evaluated, so that a mistake at its end counts (§4.6). Linear.

It must not know: the DNS, the client.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from postroom.verify.spf.macros import MacroError, MacroString, parse_macros

VERSION: Final = re.compile(rb"v=spf1(?: |$)", re.IGNORECASE)
_TERM: Final = re.compile(
    r"([-+?~]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?=[:/]|$)(.*)", re.IGNORECASE | re.DOTALL
)
_MODIFIER: Final = re.compile(r"([a-z][a-z0-9\-_.]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DUAL: Final = re.compile(r"(.*?)(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?", re.DOTALL)
_LENGTH: Final = re.compile(r"0|[1-9]\d{0,2}")
_TOP_LABEL: Final = re.compile(r"(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])\.?", re.IGNORECASE)


class SyntaxFault(Exception):
    """The record breaks the grammar: permerror (§4.6)."""


@dataclass(slots=True, frozen=True)
class Mechanism:
    """A directive. ``target`` is None where the current domain is meant; ``prefix4`` and ``prefix6`` are lengths in bits;
    ``network`` the address of ip4 and ip6."""

    qualifier: str
    name: str
    target: MacroString | None = None
    prefix4: int = 32
    prefix6: int = 128
    network: IPv4Address | IPv6Address | None = None
    text: str = ""


@dataclass(slots=True, frozen=True)
class SpfRecord:
    """Directives in order, and the two modifiers that mean something."""

    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None


def is_record(text: bytes) -> bool:
    """Whether a TXT record is an SPF record (§4.5)."""
    return VERSION.match(text) is not None


def parse_record(octets: bytes) -> SpfRecord:
    """Raises SyntaxFault."""
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError as error:
        raise SyntaxFault("not ASCII") from error
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    for term in text[6:].split(" "):
        if not term:
            continue
        found = _TERM.fullmatch(term)
        if found is not None:
            mechanisms.append(_mechanism(found[1] or "+", found[2].lower(), found[3], term))
            continue
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            raise SyntaxFault(f"what is {term!r}?")
        name = modifier[1].lower()
        if name not in {"redirect", "exp"}:
            _macros(modifier[2])
        elif name in modifiers:
            raise SyntaxFault(f"{name} twice")
        else:
            modifiers[name] = _domain_spec(modifier[2])
    return SpfRecord(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


def _mechanism(qualifier: str, name: str, rest: str, term: str) -> Mechanism:
    if name == "all":
        if rest:
            raise SyntaxFault(term)
        return Mechanism(qualifier, name, text=term)
    if name in {"include", "exists"}:
        return Mechanism(qualifier, name, _domain_spec(_behind_colon(rest, term)), text=term)
    if name == "ptr":
        target = _domain_spec(_behind_colon(rest, term)) if rest else None
        return Mechanism(qualifier, name, target, text=term)
    if name in {"a", "mx"}:
        return _with_lengths(qualifier, name, rest, term)
    return _network(qualifier, name, _behind_colon(rest, term), term)


def _with_lengths(qualifier: str, name: str, rest: str, term: str) -> Mechanism:
    """dual-cidr-length (§5.6)."""
    found = _DUAL.fullmatch(rest)
    if found is None:
        raise SyntaxFault(term)
    target = _domain_spec(_behind_colon(found[1], term)) if found[1] else None
    prefix4 = int(found[2]) if found[2] else 32
    prefix6 = int(found[3]) if found[3] else 128
    if prefix4 > 32 or prefix6 > 128:
        raise SyntaxFault(term)
    return Mechanism(qualifier, name, target, prefix4, prefix6, text=term)


def _network(qualifier: str, name: str, rest: str, term: str) -> Mechanism:
    address, slash, length = rest.partition("/")
    most = 32 if name == "ip4" else 128
    if slash and (_LENGTH.fullmatch(length) is None or int(length) > most):
        raise SyntaxFault(term)
    bits = int(length) if slash else most
    try:
        network = IPv4Address(address) if name == "ip4" else IPv6Address(address)
    except AddressValueError as error:
        raise SyntaxFault(term) from error
    if "%" in address:  # a zone is no part of an address in a record
        raise SyntaxFault(term)
    return Mechanism(qualifier, name, None, bits, bits, network, term)


def _behind_colon(rest: str, term: str) -> str:
    if not rest.startswith(":") or len(rest) == 1:
        raise SyntaxFault(term)
    return rest[1:]


def _macros(text: str, *, explaining: bool = False) -> MacroString:
    try:
        return parse_macros(text, explaining=explaining)
    except MacroError as error:
        raise SyntaxFault(str(error)) from error


def _domain_spec(text: str) -> MacroString:
    """domain-spec (§7.1): ends with a macro or a top label."""
    macros = _macros(text)
    last = macros.pieces[-1] if macros.pieces else ""
    if isinstance(last, str):
        head, dot, top = last.rstrip(".").rpartition(".") if last.endswith(".") else last.rpartition(".")
        ends_with_escape = text.endswith(("%%", "%_", "%-"))
        if not ends_with_escape and (
            not dot or _TOP_LABEL.fullmatch(top) is None or (not head and len(macros.pieces) == 1)
        ):
            raise SyntaxFault(f"{text!r} does not end in a domain")
    return macros
