"""Settings of Kerberos.

Invariants: nothing is accepted before a keytab and a realm are named.
It must not know: tickets, mechanisms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postroom.config.checks import check_hostname
from postroom.config.spec import setting

_REALM: Final = re.compile(r"[^\x00-\x20\x7f/@\\=:]+(?:=[A-Za-z0-9.-]+)?")


def check_realms(value: tuple[str, ...]) -> None:
    """Realms, each with its domain or without."""
    if not all(map(_REALM.fullmatch, value)):
        raise ValueError("must hold realms such as EXAMPLE.COM or EXAMPLE.COM=example.com")
    if len({realm.partition("=")[0] for realm in value}) < len(value):
        raise ValueError("names a realm twice")


@dataclass(slots=True, frozen=True, kw_only=True)
class Kerberos:
    """Tickets instead of passwords: AUTH GSSAPI (RFC 4752) in every protocol, and KPOP. Needs the extra `kerberos` and MIT's
    libraries, see docs/kerberos.md."""

    keytab: Path | None = setting(
        None, "File with the keys of `imap/`, `pop/` and `smtp/` this host. Unset: no tickets are taken."
    )
    realms: tuple[str, ...] = setting(
        (),
        "Realms whose users have accounts here, each `REALM` or `REALM=domain`: `anna@REALM` logs in as `anna@domain`, the "
        "domain being the realm in lower case where none is given. Users of all other realms are refused.",
        check=check_realms,
    )
    hostname: str = setting(
        "",
        "The host in the names of the services, as clients know it. Empty: `hostname`.",
        check=check_hostname,
    )

    @property
    def domains(self) -> Mapping[str, str]:
        """Realm to domain."""
        pairs = (text.partition("=") for text in self.realms)
        return {realm: domain or realm.lower() for realm, _, domain in pairs}


def kerberos_mistakes(kerberos: Kerberos) -> Iterator[tuple[str, str]]:
    """What is wrong between settings that are each good: (setting, sentence)."""
    if (kerberos.keytab is None) != (not kerberos.realms):
        yield "realms", "goes with keytab, one needs the other"
