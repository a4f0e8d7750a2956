"""The test of the whole: what goes in is what is stored, byte for byte, behind the fields put in front."""

from __future__ import annotations

import hashlib

import pytest

from postroom.model.address import Address
from postroom.store.directory import Directory
from tests.corpus import messages
from tests.session.smtp.conversation import Conversation, scene_of
from tests.transcripts.smtp_scene import behind_trace

SENDER = Address("sender", "example.com")
ALICE = Address("alice", "example.org")
BOB = Address("bob", "example.org")


@pytest.mark.parametrize("profile", ["smtp", "lmtp"])
async def test_real_messages_come_in_byte_for_byte(directory: Directory, profile: str) -> None:
    # One of them has 93 Received fields.
    scene = await scene_of(directory, profile, given=("limits hops=500",))
    talk = Conversation(scene, profile)
    await talk.open()
    account = directory.account("alice@example.org")
    assert account is not None
    wanted: list[str] = []
    for number, (_, octets) in enumerate(messages()):
        # NUL, and a last line without its end, go in chunks only (RFC 3030 §3).
        chunks = b"\0" in octets or not octets.endswith(b"\r\n") or number % 5 == 0
        assert await talk.send(octets, SENDER, ALICE, chunk=777 if chunks else 0) == [250]
        wanted.append(hashlib.sha256(octets).hexdigest())
    stored = scene.store.octets(account.id)
    assert [hashlib.sha256(behind_trace(each)[1]).hexdigest() for each in stored] == wanted
    await talk.close()
    await scene.close()


async def test_a_large_message_passes_in_pieces(directory: Directory) -> None:
    """threats D6: the engine never holds more than what was just fed."""
    scene = await scene_of(directory, "smtp")
    talk = Conversation(scene, "smtp")
    await talk.open()
    octets = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n.\r\n"
    octets += b"y" * 998 + b"\r\n"
    octets *= 3000
    assert await talk.send(octets, SENDER, ALICE, BOB) == [250]
    for name in ("alice", "bob"):
        account = directory.account(f"{name}@example.org")
        assert account is not None
        assert behind_trace(scene.store.octets(account.id)[0])[1] == octets
    assert len(scene.store.spools) == 1, "stored once for all"
    await talk.close()
    await scene.close()


async def test_lmtp_tells_each_recipient(directory: Directory) -> None:
    scene = await scene_of(directory, "lmtp")
    bob = directory.account("bob@example.org")
    assert bob is not None
    scene.store.full_late.add(bob.id)
    talk = Conversation(scene, "lmtp")
    await talk.open()
    for chunk in (0, 3):
        codes = await talk.send(b"text\r\n", SENDER, ALICE, BOB, Address("both", "example.org"), chunk=chunk)
        assert codes == [250, 452, 250]
    await talk.close()
    await scene.close()
