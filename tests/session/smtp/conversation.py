"""Our client engine against our sessions, back to back, in process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from postroom.model.address import Address
from postroom.wire.events import Sentinel
from postroom.wire.output import BlobSlice
from postroom.wire.smtp.client import Replied, SmtpClient
from postroom.wire.smtp.commands import Bdat, Command, Data, Hello, Mail, Rcpt
from tests.transcripts.harness import Case, FakeClock, FakeTransport
from tests.transcripts.smtp_scene import SmtpScene


async def scene_of(directory: object, profile: str, *needs: str, given: tuple[str, ...] = ()) -> SmtpScene:
    """A server of its own; ``needs`` and ``given`` as in transcripts."""
    from postroom.store.directory import Directory

    assert isinstance(directory, Directory)
    case = Case(Path(profile) / "x.txt", {"needs": [*needs], "given": [*given]}, [])
    scene = SmtpScene(case, directory, FakeClock())
    await scene.prepare()
    return scene


class Conversation:
    """One connection of a client to a scene."""

    def __init__(self, scene: SmtpScene, profile: str) -> None:
        self.transport = FakeTransport(1, FakeClock())
        self.client = SmtpClient(lmtp=profile == "lmtp")
        self.profile = profile
        self.transport.start(*scene.open(self.transport))

    async def open(self) -> None:
        """Greeting and EHLO."""
        await self.reply()
        await self.ask(Hello("LHLO" if self.profile == "lmtp" else "EHLO", "client.example.net"))

    async def ask(self, command: Command) -> Replied:
        """Send a command, take its reply."""
        self.client.send(command)
        return await self.reply()

    async def flush(self) -> None:
        """Let the server have what waits."""
        for chunk in self.client.data_to_send():
            assert not isinstance(chunk, BlobSlice)
            self.transport.feed(chunk)
        await asyncio.sleep(0)

    async def reply(self) -> Replied:
        """The next reply."""
        await self.flush()
        for _ in range(10_000):
            event = self.client.next_event()
            if not isinstance(event, Sentinel):
                return event
            octets = bytes(self.transport.output)
            self.transport.output.clear()
            if octets:
                self.client.receive_data(octets)
            await asyncio.sleep(0)
        raise AssertionError("no reply")

    async def send(
        self, octets: bytes, sender: Address | None, *recipients: Address, chunk: int = 0
    ) -> list[int]:
        """A message, by DATA or in chunks of that many octets: the codes of the last replies."""
        body = "BINARYMIME" if chunk else "8BITMIME"
        assert (await self.ask(Mail(sender, len(octets), body))).reply.code == 250
        for recipient in recipients:
            assert (await self.ask(Rcpt(recipient))).reply.code == 250
        if not chunk:
            assert (await self.ask(Data())).reply.code == 354
            for at in range(0, len(octets), 1000):
                self.client.send_content(octets[at : at + 1000])
                await self.flush()
            self.client.end_content()
        else:
            for at in range(0, len(octets), chunk):
                piece = octets[at : at + chunk]
                self.client.send(Bdat(len(piece)))
                self.client.send_content(piece)
                assert (await self.reply()).reply.code == 250
            self.client.send(Bdat(0, last=True))
        expected = len(recipients) if self.profile == "lmtp" else 1
        return [(await self.reply()).reply.code for _ in range(expected)]

    async def close(self) -> None:
        """Cut it."""
        await self.transport.gone()
        assert not self.transport.bugs
