"""KPOP's side of a client: Kerberos messages out of GSS-API tokens (RFC 1964 §1.1) and back."""

from __future__ import annotations

from typing import Final

KERBEROS: Final = bytes.fromhex("06092a864886f712010202")
"""The mechanism's object identifier, in DER."""


def request_in(token: bytes) -> bytes:
    """The AP-REQ within an initial token."""
    at = token.index(KERBEROS) + len(KERBEROS)
    assert token[at : at + 2] == b"\1\0"
    return token[at + 2 :]


def token_of_reply(reply: bytes) -> bytes:
    """An AP-REP as the token an initiator expects."""
    inner = KERBEROS + b"\2\0" + reply
    return (
        b"\x60\x82" + len(inner).to_bytes(2, "big") + inner
        if len(inner) > 127
        else bytes((0x60, len(inner))) + inner
    )
