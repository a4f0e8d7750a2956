"""A mailbox on another server, over IMAP (RFC 3501).

Invariants: bodies are fetched with PEEK: nothing over there becomes \\Seen. A key is UIDVALIDITY and UID. Only what was marked is
expunged where the server has UIDPLUS; elsewhere marks are left to the other clients of that mailbox.

It must not know: stores, ledgers, sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final

from postroom.collect.imap_connection import Answer, ImapConnection
from postroom.collect.remote import Connection, Login, RemoteMessage, RemoteRefused, Security
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.uidset import UidSet
from postroom.wire.imap.commands import Command, Fetch, Select, Store, UidExpunge
from postroom.wire.imap.responses import Exists, Expunged, FetchData, UidValidity, Untagged
from postroom.wire.imap.values.flags import FlagList
from postroom.wire.imap.values.sections import BodySection, FetchAtt, Section, SectionText
from postroom.wire.imap.values.sequence import SequenceSet

_LISTED: Final = (FetchAtt.UID, FetchAtt.FLAGS, FetchAtt.INTERNALDATE, FetchAtt.RFC822_SIZE)
_HEADER: Final = BodySection(Section(text=SectionText.HEADER), peek=True)
_WHOLE: Final = BodySection(Section(), peek=True)
_AT_ONCE: Final = 500
"""UIDs in one command: a line every server takes."""


class ImapMailbox:
    """A session in the selected state. Implements ``collect.remote.RemoteMailbox``."""

    def __init__(self, connection: ImapConnection) -> None:
        self._connection = connection
        self._uid_validity = 0
        self._exists = 0
        self._news = False
        self._marked: list[int] = []

    @classmethod
    async def open(
        cls,
        connection: Connection,
        login: Login,
        security: Security,
        tls: ssl.SSLContext,
        folder: str = "INBOX",
    ) -> ImapMailbox:
        """Greeting, STARTTLS, login, SELECT. The connection is closed when it does not come to a selected mailbox."""
        mailbox = cls(await ImapConnection.open(connection, login, security, tls))
        try:
            await mailbox._select(folder)
        except BaseException:
            await connection.close()
            raise
        return mailbox

    async def listing(self) -> Sequence[RemoteMessage]:
        """All messages, the oldest first."""
        self._news = False
        if not self._exists:
            return []
        listing: list[RemoteMessage] = []
        for event in await self._demand(Fetch(SequenceSet(((1, 0),)), _LISTED)):
            if not isinstance(event, FetchData) or event.uid is None or event.size is None:
                continue
            flags = event.flags
            listing.append(
                RemoteMessage(
                    f"{self._uid_validity}.{event.uid}",
                    event.uid,
                    event.size,
                    flags.system & ~SystemFlag.DELETED if flags else 0,
                    flags.keywords if flags else (),
                    event.internal_date,
                )
            )
        return sorted(listing, key=lambda message: message.number)

    async def header(self, message: RemoteMessage) -> bytes:
        """By BODY.PEEK[HEADER]."""
        return await self._section(message, _HEADER)

    async def octets(self, message: RemoteMessage) -> AsyncIterator[bytes]:
        """By BODY.PEEK[]."""
        yield await self._section(message, _WHOLE)

    async def recipient(self, message: RemoteMessage) -> str:  # noqa: ARG002 - the Protocol's signature
        """IMAP tells nothing of envelopes."""
        return ""

    async def delete(self, message: RemoteMessage) -> None:
        """Marked with the others when the session is closed."""
        self._marked.append(message.number)

    @property
    def can_wait(self) -> bool:
        """Whether the server tells of new mail (RFC 2177)."""
        return "IDLE" in self._connection.capabilities

    async def wait(self, seconds: float) -> bool:
        """Until there is mail that no listing has shown, or the server says something else, or for this time; whether there is
        such mail. What was marked is expunged before."""
        await self._expunge()
        if not self._news:
            self._heed(await self._connection.idle(seconds))
        return self._news

    async def close(self) -> None:
        """Mark and expunge what is to be deleted, and take leave."""
        await self._expunge()
        await self._connection.log_out()

    async def _expunge(self) -> None:
        marked, self._marked = self._marked, []
        try:
            for at in range(0, len(marked), _AT_ONCE):
                uids = SequenceSet.of(UidSet.of(marked[at : at + _AT_ONCE]))
                deleted = FlagList(SystemFlag.DELETED)
                await self._demand(Store(uids, FlagChange.ADD, deleted, silent=True, uid=True))
                if "UIDPLUS" in self._connection.capabilities:
                    await self._demand(UidExpunge(uids))
        except BaseException:
            await self._connection.abandon()
            raise

    async def abandon(self) -> None:
        """Without a word."""
        await self._connection.abandon()

    # --- talking

    async def _demand(self, command: Command) -> Answer:
        answer = await self._connection.demand(command)
        self._heed(answer)
        return answer

    def _heed(self, answer: Answer) -> None:
        """Keep count of the messages: the server may tell of changes with every answer (RFC 3501 §5.2)."""
        for event in answer:
            if isinstance(event, Exists):
                self._news = self._news or event.count > self._exists
                self._exists = event.count
            elif isinstance(event, Expunged):
                self._exists -= 1

    async def _select(self, folder: str) -> None:
        for event in await self._demand(Select(folder)):
            if isinstance(event, Untagged) and isinstance(event.code, UidValidity):
                self._uid_validity = event.code.value
        if not self._uid_validity:
            raise RemoteRefused(private="a mailbox without UIDVALIDITY")

    async def _section(self, message: RemoteMessage, section: BodySection) -> bytes:
        uids = SequenceSet(((message.number, message.number),))
        for event in await self._demand(Fetch(uids, (FetchAtt.UID, section), uid=True)):
            if isinstance(event, FetchData) and event.uid == message.number:
                for found in event.sections:
                    if found.section == section.section and found.data is not None:
                        return found.data
        raise RemoteRefused(private="the message is gone, or the server does not give it")
