"""Checks of settings beyond type and range.

Invariants: each takes a value of the right type and raises ValueError with the rest of a sentence that begins with the
setting's name; nothing is looked up anywhere.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network


def check_address(value: str) -> None:
    """An IP address to bind: names are not looked up."""
    try:
        ip_address(value)
    except ValueError:
        raise ValueError(
            'must be an IP address such as "127.0.0.1" or "::" (names are not looked up)'
        ) from None


def check_networks(value: tuple[str, ...]) -> None:
    """CIDRs."""
    for each in value:
        try:
            network = ip_network(each)
        except ValueError as wrong:
            raise ValueError(f'must hold networks such as "192.0.2.0/24": {wrong}') from None
        if network.prefixlen == 0:
            raise ValueError("must not name the whole Internet")


def check_hostname(value: str) -> None:
    """RFC 1123 §2.1 host names, or empty."""
    if not value:
        return
    labels = value.split(".")
    good = len(value) <= 253 and all(
        1 <= len(label) <= 63
        and label.isascii()
        and label.replace("-", "a").isalnum()
        and label[0] != "-"
        and label[-1] != "-"
        for label in labels
    )
    if not good:
        raise ValueError('must be a host name such as "mail.example.test"')


def check_delimiter(value: str) -> None:
    """At most one character that can stand in a local part."""
    if value and (
        len(value) != 1 or not value.isascii() or value.isalnum() or value not in "!#$%&'*+-/=?^_`{|}~"
    ):
        raise ValueError('must be one character such as "+" or "-", or empty to turn sub-addressing off')


def check_rising(value: tuple[int, ...]) -> None:
    """A retry schedule."""
    if not value or list(value) != sorted(value) or value[0] < 1:
        raise ValueError("must be a list of rising numbers of seconds")


def check_token_url(value: str) -> None:
    """An https URL; http only on this machine."""
    if value and not re.fullmatch(
        r"https://[!-~]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?/[!-~]*", value
    ):
        raise ValueError("must be an https URL (http only to 127.0.0.1)")


def check_field_names(value: tuple[str, ...]) -> None:
    """Names of header fields, or ``*ENV``."""
    if not all(name == "*ENV" or (name.isascii() and name.replace("-", "a").isalnum()) for name in value):
        raise ValueError('must hold names of header fields such as "Delivered-To", or "*ENV"')


def check_fields(value: tuple[str, ...]) -> None:
    """Header fields, each a name, a colon and some text."""
    for each in value:
        name, colon, text = each.partition(":")
        if (
            not colon
            or not name.strip().replace("-", "a").isalnum()
            or not name.isascii()
            or not text.strip()
        ):
            raise ValueError('must hold header fields such as "X-Spam-Flag: YES"')
