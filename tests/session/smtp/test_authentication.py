"""AUTH with our own mechanisms, both sides."""

from __future__ import annotations

import pytest

from postroom.store.directory import Directory
from postroom.wire.sasl.registry import BY_NAME
from postroom.wire.smtp.commands import Auth, Mail
from tests.session.smtp.conversation import Conversation, scene_of
from tests.transcripts.smtp_scene import PASSWORD


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("password", [PASSWORD, "wrong password"])
async def test_every_mechanism(directory: Directory, name: str, initial: bool, password: str) -> None:
    scene = await scene_of(directory, "submission", "tls")
    talk = Conversation(scene, "submission")
    await talk.open()
    assert name in talk.client.extensions["AUTH"]
    mechanism = BY_NAME[name].client("alice@example.org", password, {})
    first = mechanism.initial()
    replied = await talk.ask(Auth(name, first if initial else None))
    if not initial and first is not None:
        assert replied.challenge == b""
        talk.client.respond(first)
        replied = await talk.reply()
    while replied.challenge is not None:
        talk.client.respond(mechanism.step(replied.challenge))
        replied = await talk.reply()
    right = password == PASSWORD
    assert replied.reply.code == (235 if right else 535)
    assert (mechanism.complete and right) or not right
    sender = await talk.ask(Mail(None))
    assert sender.reply.code == (250 if right else 530)
    await talk.close()
    await scene.close()


async def test_a_disabled_account_does_not_get_in(directory: Directory) -> None:
    scene = await scene_of(directory, "submission", "tls")
    talk = Conversation(scene, "submission")
    await talk.open()
    replied = await talk.ask(Auth("PLAIN", f"\0carol@example.org\0{PASSWORD}".encode()))
    assert replied.reply.code == 535
    await talk.close()
    await scene.close()


async def test_a_connection_lost_inside_an_exchange(directory: Directory) -> None:
    scene = await scene_of(directory, "submission", "tls")
    talk = Conversation(scene, "submission")
    await talk.open()
    await talk.ask(Auth("LOGIN"))
    talk.transport.half_close()
    await talk.close()
    assert talk.transport.closed
    await scene.close()
