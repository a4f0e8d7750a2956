"""Relaying, smuggling, injection: what must never work, whatever the way in."""

from __future__ import annotations

import asyncio

import pytest

from postroom.store.directory import Directory
from tests.session.smtp.conversation import scene_of
from tests.transcripts.harness import FakeClock, FakeTransport
from tests.transcripts.smtp_scene import SmtpScene

RELAY_PROBES = [
    b"<x@example.com>",
    b"<x@y@example.org>",
    b'<"x@y"@example.org>',
    b"<x%example.com@example.org>",
    b'<"x%example.com"@example.org>',
    b"<x%example.com>",
    b"<example.com!x>",
    b"<example.com!x@example.org>",
    b'<"example.com!x"@example.org>',
    b"<@example.org:x@example.com>",
    b"<@example.org,@example.com:x@y>",
    b"<@example.org>",
    b"<x@[127.0.0.1]>",
    b"<alice@[192.0.2.25]>",
    b"<x@[IPv6:::1]>",
    b"<x@localhost>",
    b"<alice@example.org.>",
    b"<x@example.com.>",
    b"<x@example.com@>",
    b"x@example.com",
    b"<x@example.com",
    b"<x>",
    b'<"x@example.com">',
    b"<x@example.org.example.com>",
    b"<x@notexample.org>",
    b"<alice@ex\xd0\xb0mple.org>",
    b"<alice@example.org\x00.example.com>",
    b"<alice@example.org\x00>",
    b"<alice\x00@example.org>",
    b"<x@example.com> <alice@example.org>",
    b"<alice@example.org,x@example.com>",
    b"<alice@example.org;x@example.com>",
    b"<alice@example.org x@example.com>",
    b"<x@EXAMPLE.COM>",
    b"<;sleep 66;@example.org>",
    b"<|/bin/sh@example.org>",
    b'<"|/bin/sh"@example.org>',
    b"</etc/passwd@example.org>",
    b'<":include:/etc/passwd"@example.org>',
    b"<$(id)@example.org>",
    b"<`id`@example.org>",
    b"<x@example.com> ORCPT=rfc822;alice+40example.org",
    b"<away@example.org>",
    b"<gone@example.org>",
    b"<>",
]
"""threats S3, S8: nothing of this is delivered or relayed. (away@example.org is an alias to elsewhere without a route.)"""


async def say(transport: FakeTransport, octets: bytes) -> bytes:
    """Let the server have octets, take what it says."""
    if octets:
        transport.feed(octets)
    for _ in range(200):
        await asyncio.sleep(0)
        if transport.resting:
            break
    said = bytes(transport.output)
    transport.output.clear()
    return said


async def connected(scene: SmtpScene) -> FakeTransport:
    transport = FakeTransport(1, FakeClock())
    transport.start(*scene.open(transport))
    await say(transport, b"")
    return transport


@pytest.mark.parametrize("profile", ["smtp", "lmtp"])
@pytest.mark.parametrize("probe", RELAY_PROBES, ids=range(len(RELAY_PROBES)))
async def test_nothing_is_relayed(directory: Directory, profile: str, probe: bytes) -> None:
    scene = await scene_of(directory, profile)
    transport = await connected(scene)
    await say(transport, b"LHLO x\r\n" if profile == "lmtp" else b"EHLO x\r\n")
    for sender in (b"<x@example.com>", b"<>", b"<alice@example.org>"):
        assert (await say(transport, b"MAIL FROM:" + sender + b" SMTPUTF8\r\n")).startswith(b"250")
        said = await say(transport, b"RCPT TO:" + probe + b"\r\n")
        assert said[:1] in (b"4", b"5"), said
        assert said.count(b"\r\n") == 1
        assert probe.strip(b"<>") not in said or len(probe) < 4, "nothing of the peer is repeated"
        await say(transport, b"DATA\r\n")
        await say(transport, b"RSET\r\n")
    await transport.gone()
    assert not transport.bugs
    assert not scene.store.batches
    await scene.close()


ENDINGS = [
    b"\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\n.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]
BEHIND = b"MAIL FROM:<x@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"


@pytest.mark.parametrize("way", ["smtp", "tls", "lmtp", "bdat before"])
@pytest.mark.parametrize("ending", ENDINGS, ids=repr)
async def test_nothing_is_smuggled(directory: Directory, ending: bytes, way: str) -> None:
    """threats S1, split at every place around the ending: one refusal, no message, never two."""
    profile = "lmtp" if way == "lmtp" else "smtp"
    octets = b"Subject: one\r\n\r\ntext" + ending + BEHIND
    for cut in range(15, 15 + len(ending) + 12):
        scene = await scene_of(directory, profile, *(["tls"] if way == "tls" else []))
        transport = await connected(scene)
        await say(transport, b"LHLO x\r\n" if profile == "lmtp" else b"EHLO x\r\n")
        stored = 0
        if way == "bdat before":
            stored = 1
            await say(transport, b"MAIL FROM:<x@example.com>\r\nRCPT TO:<bob@example.org>\r\n")
            assert b"\r\n250 2.0.0" in b"\r\n" + await say(transport, b"BDAT 3 LAST\r\n.\r\n")
        await say(transport, b"MAIL FROM:<x@example.com>\r\nRCPT TO:<alice@example.org>\r\n")
        assert (await say(transport, b"DATA\r\n")).startswith(b"354")
        said = await say(transport, octets[:cut])
        said += await say(transport, octets[cut:])
        assert said == b"550 5.5.2 Bare CR, bare LF or NUL in the message\r\n"
        assert transport.closed
        await scene.close()
        assert sum(len(batch.deliveries) for batch in scene.store.batches) == stored


@pytest.mark.parametrize("profile", ["smtp", "submission", "lmtp"])
@pytest.mark.parametrize(
    "behind",
    [b"MAIL FROM:<a@b>\r\n", b"EHLO y\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"\x16\x03\x01", b"x", b"\n"],
)
async def test_nothing_behind_starttls_is_obeyed(directory: Directory, profile: str, behind: bytes) -> None:
    """threats T3: one segment, and split inside what is injected (as long as it comes before the reply)."""
    scene = await scene_of(directory, profile)
    transport = await connected(scene)
    hello = b"LHLO x\r\n" if profile == "lmtp" else b"EHLO x\r\n"
    assert b"250-STARTTLS\r\n" in await say(transport, hello)
    assert await say(transport, b"STARTTLS\r\n" + behind) == b""
    assert transport.closed
    assert transport.tls is None
    await scene.close()


async def test_nothing_of_the_clear_survives_starttls(directory: Directory) -> None:
    """threats T5: neither EHLO nor MAIL is remembered."""
    scene = await scene_of(directory, "smtp")
    transport = await connected(scene)
    await say(transport, b"EHLO x\r\n")
    assert (await say(transport, b"STARTTLS\r\n")).startswith(b"220")
    assert (await say(transport, b"MAIL FROM:<a@example.com>\r\n")).startswith(b"503")
    assert b"STARTTLS" not in await say(transport, b"EHLO x\r\n")
    assert (await say(transport, b"RCPT TO:<alice@example.org>\r\n")).startswith(b"503")
    await transport.gone()
    await scene.close()


@pytest.mark.parametrize(
    "hello",
    [
        b"x\r\nX-Injected: y",
        b"x\nX-Injected: y",
        b"x;rm",
        b"<x>",
        b"x" * 300,
        b"\x1b[31m",
        b"[x\r\ny]",
        b"x y",
    ],
)
async def test_the_name_a_client_gives_itself_stays_harmless(directory: Directory, hello: bytes) -> None:
    """threats S7: it is refused or stands as one word in one field."""
    scene = await scene_of(directory, "smtp")
    transport = await connected(scene)
    said = await say(transport, b"EHLO " + hello + b"\r\n")
    if said.startswith(b"250"):
        await say(transport, b"MAIL FROM:<a@example.com>\r\nRCPT TO:<alice@example.org>\r\n")
        await say(transport, b"DATA\r\n")
        await say(transport, b"text\r\n.\r\n")
    for batch in scene.store.batches:
        assert b"X-Injected" not in (batch.deliveries[0].message.blob.octets or b"")
    assert said[:1] in (b"5", b"2")
    await transport.gone()
    await scene.close()
