"""Unique ids of a copied INBOX: what is not certain is not written down."""

from __future__ import annotations

from postroom.collect.remote import RemoteMessage
from postroom.copying.account import Message
from postroom.copying.unique_ids import by_listing, by_rule

MESSAGES = [Message(9, 300), Message(4, 100), Message(7, 200)]
COPIED = {4: 1, 7: 2, 9: 3}


def test_rules() -> None:
    assert by_rule("dovecot", 0x5F0A1B2C, {26: 1}).ids == {1: "0000001a5f0a1b2c"}
    assert by_rule("cyrus", 17, {26: 1}).ids == {1: "17.26"}
    assert by_rule("courier", 17, {26: 1}).ids == {1: "17-26"}


def test_a_listing_in_the_order_of_uids() -> None:
    listed = [
        RemoteMessage("a", 1, 100),
        RemoteMessage("b", 2, 200),
        RemoteMessage("c", 3, 300),
        RemoteMessage("d", 4, 50),
    ]
    found = by_listing(listed, MESSAGES, COPIED)
    assert found.ids == {1: "a", 2: "b", 3: "c"}
    assert found.unknown == 0
    found = by_listing(listed, MESSAGES, {4: 1, 9: 3})
    assert found.ids == {1: "a", 3: "c"}


def test_nothing_is_believed_behind_the_first_difference() -> None:
    listed = [RemoteMessage("a", 1, 100), RemoteMessage("c", 2, 300)]
    found = by_listing(listed, MESSAGES, COPIED)
    assert found.ids == {1: "a"}
    assert found.unknown == 2
