"""Delivery status notifications (RFC 3462, RFC 3464)."""

from __future__ import annotations

import email
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.compose import UnsafeValueError
from postroom.mime.dsn import DeliveryReport, RecipientStatus, build_dsn
from postroom.mime.scanner import scan
from tests.mime.tree import check, shape

FAILED = RecipientStatus(
    "bob@example.com",
    "failed",
    "5.1.1",
    "rfc822;robert@example.com",
    "mx.example.com",
    "550 5.1.1 no such user",
    1_700_000_000,
)
REPORT = DeliveryReport(
    reporting_mta="mx.example.org",
    sender=("Mail Delivery System", "mailer-daemon@example.org"),
    recipient="ada@example.net",
    message_id="1@mx.example.org",
    boundary="=_b",
    date=1_700_000_100,
    recipients=[FAILED],
    original=b"From: ada@example.net\r\nSubject: hello\r\n\r\nbody\r\n",
    arrival=1_699_999_000,
    envelope_id="QQ314159",
)


def test_report() -> None:
    octets = build_dsn(REPORT)
    assert octets.endswith(b"--=_b--\r\n")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == (
        "multipart/report",
        ["text/plain", "message/delivery-status", "text/rfc822-headers"],
    )
    assert facts.root.params["report-type"] == "delivery-status"
    human, status, returned = facts.root.children
    assert b"bob@example.com" in octets[human.body : human.end]
    assert octets[returned.body : returned.end] == b"From: ada@example.net\r\nSubject: hello\r\n"
    blocks = octets[status.body : status.end].split(b"\r\n\r\n")
    assert blocks[0] == (
        b"Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; mx.example.org\r\n"
        b"Arrival-Date: Tue, 14 Nov 2023 21:56:40 +0000"
    )
    assert blocks[1].rstrip() == (
        b"Original-Recipient: rfc822; robert@example.com\r\nFinal-Recipient: rfc822; bob@example.com\r\nAction: failed\r\n"
        b"Status: 5.1.1\r\nRemote-MTA: dns; mx.example.com\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        b"Last-Attempt-Date: Tue, 14 Nov 2023 22:13:20 +0000"
    )


def test_full_message_comes_back() -> None:
    octets = build_dsn(replace(REPORT, full=True, original=b"Subject: \xc3\xa4\n\nno line end"))
    facts = scan(octets)
    assert shape(facts.root)[1][2] == ("message/rfc822", ["text/plain"])
    returned = facts.root.children[2]
    assert octets[returned.body : returned.end] == b"Subject: \xc3\xa4\n\nno line end\r\n"
    assert returned.encoding == "8bit"
    assert facts.root.encoding == "8bit"


def test_delay_says_until_when() -> None:
    late = RecipientStatus("bob@example.com", "delayed", "4.4.1", will_retry_until=1_700_400_000)
    octets = build_dsn(replace(REPORT, recipients=[late]))
    assert b"Subject: Delayed" in octets
    assert b"Will-Retry-Until: Sun, 19 Nov 2023 13:20:00 +0000\r\n" in octets
    both = build_dsn(replace(REPORT, recipients=[late, FAILED]))
    assert b"Subject: Undelivered" in both
    assert both.count(b"Final-Recipient:") == 2


def test_standard_library_reads_it() -> None:
    message = email.message_from_bytes(build_dsn(replace(REPORT, recipients=[FAILED, FAILED])))
    assert not message.defects
    status = message.get_payload(1)
    assert isinstance(status, email.message.Message)
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    assert len(blocks) == 3
    assert message["Auto-Submitted"] == "auto-replied"


def test_internationalised_recipient() -> None:
    octets = build_dsn(
        replace(REPORT, recipients=[replace(FAILED, final="jürgen@example.com", original=None)])
    )
    assert b"Final-Recipient: utf-8; j\\x{FC}rgen@example.com\r\n" in octets
    assert "jürgen@example.com".encode() in octets


def test_refusals() -> None:
    with pytest.raises(ValueError):
        build_dsn(replace(REPORT, recipients=[]))
    with pytest.raises(UnsafeValueError):
        build_dsn(replace(REPORT, original=b"--=_b\r\n\r\n", full=True))
    with pytest.raises(UnsafeValueError):
        build_dsn(replace(REPORT, recipient="a@b\r\nBcc: c@d"))


@given(st.text(max_size=3000), st.text(max_size=50), st.text(max_size=50))
def test_foreign_texts_cannot_break_out(diagnostic: str, mta: str, original: str) -> None:
    one = replace(FAILED, diagnostic=diagnostic, remote_mta=mta, original=original)
    octets = build_dsn(replace(REPORT, recipients=[one]))
    facts = scan(octets)
    assert shape(facts.root) == (
        "multipart/report",
        ["text/plain", "message/delivery-status", "text/rfc822-headers"],
    )
    status = facts.root.children[1]
    lines = octets[status.body : status.end].split(b"\r\n")
    names = {line.partition(b":")[0] for line in lines if line and not line.startswith(b" ")}
    assert names <= {
        b"Original-Envelope-Id", b"Reporting-MTA", b"Arrival-Date", b"Original-Recipient", b"Final-Recipient", b"Action",
        b"Status", b"Remote-MTA", b"Diagnostic-Code", b"Last-Attempt-Date",
    }  # fmt: skip
    assert max(map(len, octets.split(b"\r\n"))) <= 998
