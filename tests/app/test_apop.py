"""Where a listener has APOP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroom.app.pop3 import timestamps_of
from postroom.config.settings import Listener, ListenerProtocol
from postroom.session.transport import Peer
from postroom.wire.pop3.apop import find_timestamp
from tests.session.test_authentication import TLS, Line

LISTENER = Listener(
    protocol=ListenerProtocol.POP3, port=110, apop=True, apop_cidrs=("192.0.2.0/24", "2001:db8::/32")
)


@pytest.mark.parametrize(
    ("address", "in_clear"),
    [("192.0.2.9", True), ("2001:db8::1%eth0", True), ("198.51.100.7", False), ("::1", False), ("", False)],
)
def test_over_tls_and_from_named_networks(address: str, in_clear: bool) -> None:
    timestamps = timestamps_of(LISTENER)
    clear, private = Line(Peer(address), tls=None), Line(Peer(address), tls=TLS)
    assert bool(timestamps(clear)) is in_clear
    made = timestamps(private)
    assert find_timestamp(made) == made != timestamps(private)


def test_passwords_in_clear_do_not_open_apop() -> None:
    allowed = Line(Peer("198.51.100.7"), tls=None, cleartext_auth_allowed=True)
    assert timestamps_of(LISTENER)(allowed) == ""


def test_it_is_off_unless_it_is_asked_for() -> None:
    off = timestamps_of(replace(LISTENER, apop=False))
    assert off(Line(Peer("192.0.2.9"), tls=TLS)) == ""
