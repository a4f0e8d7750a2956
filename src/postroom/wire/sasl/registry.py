"""The mechanisms there are, best first. A new one is a file and a row here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postroom.wire.sasl.api import MechanismSpec, Proof
from postroom.wire.sasl.cram_md5 import CRAM_MD5
from postroom.wire.sasl.external import EXTERNAL
from postroom.wire.sasl.gssapi import GSSAPI
from postroom.wire.sasl.login import LOGIN
from postroom.wire.sasl.oauth import OAUTHBEARER, XOAUTH2
from postroom.wire.sasl.plain import PLAIN
from postroom.wire.sasl.scram import SCRAM_SHA_1, SCRAM_SHA_1_PLUS, SCRAM_SHA_256, SCRAM_SHA_256_PLUS

MECHANISMS: Final[tuple[MechanismSpec, ...]] = (
    EXTERNAL,
    GSSAPI,
    SCRAM_SHA_256_PLUS,
    SCRAM_SHA_256,
    SCRAM_SHA_1_PLUS,
    SCRAM_SHA_1,
    OAUTHBEARER,
    XOAUTH2,
    PLAIN,
    LOGIN,
    CRAM_MD5,
)
"""CRAM-MD5 is the last one: it serves only those who have a secret for it, and a client that takes what comes first is better
served by any other inside TLS."""

BY_NAME: Final = {spec.name: spec for spec in MECHANISMS}


def choose(
    offered: Iterable[str],
    *,
    can_bind: bool,
    in_clear: bool,
    must_bind: bool = False,
    proof: Proof = Proof.PASSWORD,
) -> MechanismSpec | None:
    """The best mechanism that a client with this ``proof`` can use among those a server offers; in clear none that shows it,
    with ``must_bind`` only one that binds the login to the TLS connection."""
    names = {name.upper() for name in offered}
    for spec in MECHANISMS:
        if spec.proof is not proof or (must_bind and not spec.binds):
            continue
        if spec.name in names and (can_bind or not spec.binds) and not (in_clear and spec.reveals_password):
            return spec
    return None
