"""Trace fields: what they say, and that nothing a client says breaks out of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.delivery.trace import Trace, protocol_name, received_field, return_path_field
from postroom.mime.header import iter_fields
from postroom.model.address import Address

TRACE = Trace("client.example.net", "192.0.2.1", "mx.example.org", "ESMTPS", "abc-1", 1_700_000_000)


def test_all_of_it() -> None:
    trace = Trace(
        "[192.0.2.1]",
        "2001:db8::1",
        "mx.example.org",
        "ESMTPSA",
        "abc-1",
        0,
        "TLSv1.3",
        "TLS_AES_128_GCM_SHA256",
        Address("a b", "example.org"),
    )
    assert received_field(trace) == (
        b"Received: from [192.0.2.1] ([IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.org (postroom) with ESMTPSA id abc-1\r\n"
        b"\t(TLSv1.3 TLS_AES_128_GCM_SHA256)\r\n"
        b'\tfor <"a b"@example.org>; Thu, 1 Jan 1970 00:00:00 +0000\r\n'
    )


def test_a_local_socket() -> None:
    trace = Trace("mta", "", "mx.example.org", "LMTP", "abc-1", 0)
    assert received_field(trace).startswith(b"Received: from mta (local socket)\r\n\tby ")
    assert received_field(trace).endswith(b" id abc-1;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n")


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_it_stays_one_field(hello: str, peer: str, number: str, version: str, cipher: str) -> None:
    """threats S7"""
    octets = received_field(Trace(hello, peer, "mx.example.org", "ESMTP", number, 0, version, cipher))
    (field,) = iter_fields(octets + b"\r\n")
    assert field.name == b"received"
    assert field.end == len(octets)
    assert octets.isascii()
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SMTP", {"extended": False}),
        ("ESMTP", {}),
        ("ESMTPS", {"tls": True}),
        ("ESMTPA", {"authenticated": True}),
        ("ESMTPSA", {"tls": True, "authenticated": True}),
        ("UTF8SMTP", {"utf8": True}),
        ("UTF8SMTPSA", {"utf8": True, "tls": True, "authenticated": True}),
    ],
)
def test_protocol_names(name: str, settings: dict[str, bool]) -> None:
    assert protocol_name("SMTP", **settings) == name


def test_protocol_names_of_lmtp() -> None:
    assert protocol_name("LMTP") == "LMTP"
    assert protocol_name("LMTP", tls=True) == "LMTPS"
    assert protocol_name("LMTP", utf8=True) == "UTF8LMTP"


def test_return_path() -> None:
    assert return_path_field(None) == b"Return-Path: <>\r\n"
    assert return_path_field(Address("é", "example.org")) == "Return-Path: <é@example.org>\r\n".encode()
