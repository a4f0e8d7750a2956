"""An IMAP account as copying sees it: mailboxes with their special uses, messages by UID, on any server.

Invariants: nothing is changed by reading (EXAMINE, PEEK). What a server does not offer is done without: SPECIAL-USE, UIDPLUS,
MULTIAPPEND, LITERAL+. Memory holds one batch of messages at a time.

It must not know: the other side.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from postroom.collect.imap_connection import ImapConnection
from postroom.collect.remote import RemoteRefused
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.mailbox import INBOX, SpecialUse
from postroom.model.uidset import UidSet
from postroom.wire.imap.commands import (
    Append,
    AppendMessage,
    Create,
    Examine,
    Fetch,
    List,
    ListReturn,
    Lsub,
    Select,
    Store,
    Subscribe,
    UidExpunge,
)
from postroom.wire.imap.responses import (
    AppendUid,
    Exists,
    FetchData,
    ListData,
    PermanentFlags,
    UidValidity,
    Untagged,
)
from postroom.wire.imap.values.flags import FlagList
from postroom.wire.imap.values.sections import BodySection, FetchAtt, Section
from postroom.wire.imap.values.sequence import SequenceSet

BATCH_OCTETS: Final = 4 << 20
BATCH_MESSAGES: Final = 50
_LISTED: Final = (FetchAtt.UID, FetchAtt.FLAGS, FetchAtt.INTERNALDATE, FetchAtt.RFC822_SIZE)
_WHOLE: Final = BodySection(Section(), peek=True)
_KEYWORD: Final = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+')
_USES: Final = {use.value.lower(): use for use in SpecialUse}


@dataclass(slots=True, frozen=True)
class Folder:
    """A mailbox: its name on its own server, its path from the root, its special use."""

    name: str
    path: tuple[str, ...]
    use: SpecialUse | None = None
    subscribed: bool = False


@dataclass(slots=True, frozen=True)
class Message:
    """One message without its octets. ``flags`` are ``SystemFlag`` bits, ``date`` is seconds since 1970 UTC and minutes east."""

    uid: int
    size: int
    flags: int = 0
    keywords: tuple[str, ...] = ()
    date: tuple[int, int] | None = None

    @property
    def flag_list(self) -> FlagList:
        """Flags and those keywords that are atoms."""
        return FlagList(self.flags, tuple(word for word in self.keywords if _KEYWORD.fullmatch(word)))


@dataclass(slots=True)
class Opened:
    """A selected mailbox."""

    folder: Folder
    uid_validity: int = 0
    exists: int = 0
    any_keyword: bool = False


class ImapAccount:
    """A logged-in account. Everything may raise Unavailable, RemoteRefused, RemoteProtocolError."""

    def __init__(self, connection: ImapConnection) -> None:
        self._connection = connection
        self._opened: tuple[str, bool] | None = None

    async def folders(self) -> list[Folder]:
        """Every mailbox that holds messages, INBOX first, superiors before inferiors."""
        special = "SPECIAL-USE" in self._connection.capabilities
        returns = ListReturn.SPECIAL_USE if special else ListReturn.NONE
        found: list[ListData] = [
            event
            for event in await self._connection.demand(List("", ("*",), returns=returns, extended=special))
            if isinstance(event, ListData) and not event.lsub
        ]
        subscribed = {
            event.mailbox
            for event in await self._connection.demand(Lsub("", "*"))
            if isinstance(event, ListData)
        }
        folders = []
        for each in found:
            attributes = {attribute.lower() for attribute in each.attributes}
            if attributes & {"\\noselect", "\\nonexistent"}:
                continue
            path = tuple(each.mailbox.split(each.separator)) if each.separator else (each.mailbox,)
            if path[0].upper() == INBOX:
                path = (INBOX, *path[1:])
            use = next((_USES[name] for name in sorted(attributes) if name in _USES), None)
            folders.append(Folder(each.mailbox, path, use, each.mailbox in subscribed))
        return sorted(folders, key=lambda folder: (folder.path[0] != INBOX, folder.path))

    async def separator(self) -> str:
        """Between the names of a hierarchy; empty on a server without any."""
        for event in await self._connection.demand(List("", ("",))):
            if isinstance(event, ListData):
                return event.separator or ""
        return ""

    async def create(self, folder: Folder) -> None:
        """Make it, with its special use where the server takes that."""
        use = (folder.use,) if folder.use and "CREATE-SPECIAL-USE" in self._connection.capabilities else ()
        try:
            await self._connection.demand(Create(folder.name, use))
        except RemoteRefused:
            if not use:
                raise
            await self._connection.demand(Create(folder.name))

    async def subscribe(self, folder: Folder) -> None:
        """Subscribe to it."""
        await self._connection.demand(Subscribe(folder.name))

    async def open(self, folder: Folder, *, write: bool = False) -> Opened:
        """Select it, for reading only unless ``write``."""
        opened = Opened(folder)
        command = Select(folder.name) if write else Examine(folder.name)
        for event in await self._connection.demand(command):
            match event:
                case Exists(count):
                    opened.exists = count
                case Untagged(code=UidValidity(value)):
                    opened.uid_validity = value
                case Untagged(code=PermanentFlags(flags)):
                    opened.any_keyword = flags.star
                case _:
                    pass
        return opened

    async def messages(self, opened: Opened) -> list[Message]:
        """All of them, by UID."""
        if not opened.exists:
            return []
        return sorted(
            (
                _message(event)
                for event in await self._connection.demand(Fetch(SequenceSet(((1, 0),)), _LISTED))
                if isinstance(event, FetchData) and event.uid is not None
            ),
            key=lambda message: message.uid,
        )

    async def octets(self, messages: Sequence[Message]) -> AsyncIterator[tuple[Message, bytes]]:
        """The octets of messages of the open mailbox, in some order; those that are gone are left out."""
        for batch in batches(messages):
            wanted = {message.uid: message for message in batch}
            uids = SequenceSet.of(UidSet.of(wanted))
            for event in await self._connection.demand(Fetch(uids, (FetchAtt.UID, _WHOLE), uid=True)):
                if not isinstance(event, FetchData) or event.uid not in wanted:
                    continue
                for section in event.sections:
                    if section.section == _WHOLE.section and section.data is not None:
                        yield wanted.pop(event.uid), section.data
                        break

    async def append(self, folder: Folder, batch: Sequence[tuple[Message, bytes]]) -> list[int] | None:
        """Add messages with flags and dates; their UIDs in this order, None where the server does not tell."""
        parts = [
            (AppendMessage(len(octets), message.flag_list, message.date), octets) for message, octets in batch
        ]
        together = "MULTIAPPEND" in self._connection.capabilities
        groups = [tuple(parts)] if together else [(part,) for part in parts]
        uids: list[int] = []
        for group in groups:
            answer = await self._connection.demand(Append(folder.name, group))
            if isinstance(answer.code, AppendUid):
                uids.extend(answer.code.uids)
        return uids if len(uids) == len(batch) else None

    async def set_flags(self, uid: int, message: Message) -> None:
        """Give a message of the open mailbox exactly these flags."""
        uids = SequenceSet(((uid, uid),))
        await self._connection.demand(
            Store(uids, FlagChange.REPLACE, message.flag_list, silent=True, uid=True)
        )

    async def expunge(self, uids: Sequence[int]) -> bool:
        """Remove messages of the open mailbox; False on a server that cannot remove only these."""
        if "UIDPLUS" not in self._connection.capabilities:
            return False
        for at in range(0, len(uids), 500):
            some = SequenceSet.of(UidSet.of(uids[at : at + 500]))
            deleted = FlagList(SystemFlag.DELETED)
            await self._connection.demand(Store(some, FlagChange.ADD, deleted, silent=True, uid=True))
            await self._connection.demand(UidExpunge(some))
        return True

    async def close(self) -> None:
        """Take leave."""
        await self._connection.log_out()

    async def abandon(self) -> None:
        """Close without a word; never raises."""
        await self._connection.abandon()


def batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Messages in groups that fit into memory together."""
    batch: list[Message] = []
    octets = 0
    for message in messages:
        if batch and (octets + message.size > BATCH_OCTETS or len(batch) >= BATCH_MESSAGES):
            yield batch
            batch, octets = [], 0
        batch.append(message)
        octets += message.size
    if batch:
        yield batch


def flags_of(message: Message) -> str:
    """Flags in a form that can be compared and kept."""
    given = message.flag_list
    return " ".join([str(given.system), *sorted(word.lower() for word in given.keywords)])


def _message(event: FetchData) -> Message:
    assert event.uid is not None
    flags = event.flags
    return Message(
        event.uid,
        event.size or 0,
        flags.system if flags else 0,
        flags.keywords if flags else (),
        event.internal_date,
    )
