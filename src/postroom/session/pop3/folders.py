"""Folders, flags and parts on POP3 (docs/pop3-folders.md).

Invariants:
- A folder is a snapshot from SFLD on, as INBOX is from the login on; numbers stay until QUIT or the next SFLD.
- Nothing is removed behind marks: while messages are marked for deletion the folder cannot be left but by QUIT.
- What has been moved keeps its number and counts as deleted. ``+OK`` follows the durable commit.

It must not know: which listeners have it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from postroom.mime.facts import Part
from postroom.mime.structure import find_part, load_structure, section_range
from postroom.model.account import Account
from postroom.model.errors import Corrupt, NoSuchMessage, NotAllowed, PostroomError, TooLarge
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.mailbox import INBOX, SEPARATOR, Mailbox
from postroom.model.message import NewMessage, Octets
from postroom.model.uidset import UidSet
from postroom.session.maildrop import Maildrop
from postroom.session.pop3.basics import summary
from postroom.session.pop3.transaction import send_body, send_lines
from postroom.store.api import Column
from postroom.store.mailbox_names import new_name, normalise_name
from postroom.wire.pop3 import folders as commands
from postroom.wire.pop3.catalogue import Phrase
from postroom.wire.pop3.replies import BeginUpload, Listing, Ok
from postroom.wire.pop3.server import UploadChunk, UploadEnd

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session

_MOST_AT_ONCE: Final = 100_000
"""Messages of one COPY or MOVE."""
_SYSTEM: Final = {
    "\\answered": SystemFlag.ANSWERED,
    "\\flagged": SystemFlag.FLAGGED,
    "\\deleted": SystemFlag.DELETED,
    "\\seen": SystemFlag.SEEN,
    "\\draft": SystemFlag.DRAFT,
}
_SPELT: Final = {flag: name[0] + name[1:].capitalize() for name, flag in _SYSTEM.items()}
_tree: Final = lru_cache(maxsize=4)(load_structure)


async def list_folders(session: Pop3Session, _command: commands.ListFolders) -> None:
    """LFLD: messages, unseen ones, octets, name."""
    account = session.opened()[0]
    found = [each for each in session.store.mailboxes(account.id) if each.selectable]
    lines = "".join(f"{each.messages} {each.unseen} {each.octets} {each.name}\r\n" for each in found)
    await send_lines(session, "Folders follow", iter((lines.encode(),)))


async def select(session: Pop3Session, command: commands.SelectFolder) -> None:
    """SFLD: from here on numbers mean that folder's messages."""
    account, maildrop = session.opened()
    if await maildrop.marked():
        raise NotAllowed("Messages are marked for deletion")
    chosen = Maildrop(session.store, account, _folder(session, account, command.folder))
    session.turn_to(chosen)
    session.engine.send(Ok(summary(chosen)))


async def create(session: Pop3Session, command: commands.CreateFolder) -> None:
    """CFLD, with the folders above it."""
    account = session.opened()[0]
    await session.store.create_mailbox(account.id, new_name(command.folder))
    session.engine.send(Ok("Folder created"))


async def delete(session: Pop3Session, command: commands.DeleteFolder) -> None:
    """DFLD: only one that is empty and not selected."""
    account, maildrop = session.opened()
    folder = _folder(session, account, command.folder)
    if folder.name == INBOX or folder.messages or folder.id == maildrop.inbox.id:
        raise NotAllowed("The folder is not empty or in use")
    await session.store.delete_mailbox(account.id, folder.name)
    session.engine.send(Ok("Folder deleted"))


async def rename(session: Pop3Session, command: commands.RenameFolder) -> None:
    """RENF, folders below it included."""
    await _rename(session, command.folder, command.to)


async def move_folder(session: Pop3Session, command: commands.MoveFolder) -> None:
    """MOVF."""
    leaf = normalise_name(command.folder).rpartition(SEPARATOR)[2]
    await _rename(session, command.folder, f"{command.parent}{SEPARATOR}{leaf}" if command.parent else leaf)


async def _rename(session: Pop3Session, folder: str, to: str) -> None:
    account = session.opened()[0]
    name = _folder(session, account, folder).name
    if name == INBOX:
        raise NotAllowed("The folder is not empty or in use")
    await session.store.rename_mailbox(account.id, name, new_name(to))
    session.engine.send(Ok("Folder renamed"))


async def copy(session: Pop3Session, command: commands.CopyMessages) -> None:
    """COPY."""
    account, maildrop = session.opened()
    target = _folder(session, account, command.folder)
    uids, _ = await _named(maildrop, command.first, command.last)
    done = await session.store.copy(account.id, maildrop.inbox.id, uids, target.id)
    session.engine.send(Ok(Phrase("{} messages copied", len(done.target))))


async def move(session: Pop3Session, command: commands.MoveMessages) -> None:
    """MOVE: in one transaction; here they count as deleted."""
    account, maildrop = session.opened()
    target = _folder(session, account, command.folder)
    if target.id == maildrop.inbox.id:
        raise NotAllowed("The folder is not empty or in use")
    uids, numbers = await _named(maildrop, command.first, command.last)
    done = await session.store.move(account.id, maildrop.inbox.id, uids, target.id)
    for number in numbers:
        with suppress(NoSuchMessage):
            await maildrop.mark(number)
    session.engine.send(Ok(Phrase("{} messages moved", len(done.target))))


async def _named(maildrop: Maildrop, first: int, last: int) -> tuple[UidSet, list[int]]:
    """UIDs and numbers of a range, marked ones left out; NoSuchMessage when there are none or the range ends too late."""
    uids = await maildrop.read()
    if last > len(uids) or last - first >= _MOST_AT_ONCE:
        raise NoSuchMessage("No such message")
    marked = await maildrop.marked()
    numbers = [number for number in range(first, last + 1) if uids[number - 1] not in marked]
    if not numbers:
        raise NoSuchMessage("No such message")
    return UidSet.of([uids[number - 1] for number in numbers]), numbers


async def store(session: Pop3Session, command: commands.StoreMessage) -> None:
    """STOR: the reply has the message's unique id."""
    account, maildrop = session.opened()
    target = maildrop.inbox if command.folder is None else _folder(session, account, command.folder)
    session.engine.send(BeginUpload("Send the message, end it with a dot"))
    most = session.message_limit
    spool, size = session.store.spool(None), 0
    refused: PostroomError | None = None
    try:
        while not isinstance(event := await session.transport.next_event(), UploadEnd):
            assert isinstance(event, UploadChunk)
            size += len(event.octets)
            if size > 2 * most:
                raise TooLarge("Message too large")
            if refused is None and size > most:
                refused = TooLarge("Message too large")
            if refused is None:
                try:
                    waiting = spool.write(event.octets)
                    if waiting is not None:
                        await waiting
                except PostroomError as error:
                    refused = error
        if refused is not None:
            raise refused
        content = await spool.finish()
    except BaseException:
        spool.abort()
        raise
    made = await session.store.append(
        account.id, target.id, [NewMessage(content.blob, content.facts, session.wall_clock())]
    )
    session.engine.send(Ok(Phrase("Stored as {}", f"{made.uid_validity}.{made.uids.first}")))


async def flag(session: Pop3Session, command: commands.Flag) -> None:
    """FLAG: the flags of a message, after the changes."""
    account, maildrop = session.opened()
    uids = UidSet.of([(await maildrop.read())[await maildrop.index(command.number)]])
    for change, wanted in ((FlagChange.ADD, True), (FlagChange.REMOVE, False)):
        names = [name for sets, name in command.changes if sets is wanted]
        bits, words = 0, []
        for name in names:
            system = _SYSTEM.get(name.lower())
            if system is not None:
                bits |= int(system)
            elif name.startswith("\\"):
                raise NotAllowed("No such flag")
            else:
                words.append(name)
        if names:
            await session.store.store_flags(
                account.id, maildrop.inbox.id, uids, change, bits, tuple(words), states=False
            )
    for batch in session.store.fetch(account.id, maildrop.inbox.id, uids, (Column.FLAGS, Column.KEYWORDS)):
        for bits, keywords in batch:
            told = [name for system, name in _SPELT.items() if bits & system] + keywords.split()
            session.engine.send(Ok(f"{command.number} ({' '.join(told)})"))
            return
    raise NoSuchMessage


async def list_parts(session: Pop3Session, command: commands.ListParts) -> None:
    """PLST: number, type, octets as they are stored, transfer encoding."""
    root, _ = await _structure(session, command.number)
    lines: list[str] = []
    waiting: list[tuple[tuple[int, ...], Part]] = [((), root)]
    if root.type == "multipart":
        waiting = [((at,), part) for at, part in enumerate(root.children, 1)]
    waiting.reverse()
    while waiting:
        path, part = waiting.pop()
        named = ".".join(map(str, path or (1,)))
        lines.append(f"{named} {part.type}/{part.subtype} {part.end - part.body} {part.encoding}\r\n")
        inner = part
        if part.type == "message" and part.children:
            inner = part.children[0]
            if inner.type != "multipart":
                waiting.append(((*(path or (1,)), 1), inner))
                continue
        if inner.type == "multipart":
            below: list[tuple[tuple[int, ...], Part]] = [
                ((*path, at), child) for at, child in enumerate(inner.children, 1)
            ]
            waiting.extend(reversed(below))
    session.engine.send(Listing("Parts follow", "".join(lines).encode("ascii", "replace")))


async def get_part(session: Pop3Session, command: commands.GetPart) -> None:
    """PART: a part's octets as they are stored."""
    root, octets = await _structure(session, command.number)
    where = section_range(root, command.part)
    if where is None or find_part(root, command.part) is None:
        raise NoSuchMessage("No such part")
    start, end = where
    await send_body(session, _Slice(octets, start, end - start), Phrase("{} octets", end - start), None)


class _Slice:
    """A part of a message, as octets of its own."""

    def __init__(self, octets: Octets, start: int, size: int) -> None:
        self._octets = octets
        self._start = start
        self.size = size

    async def read(self, offset: int, length: int) -> bytes:
        """Octets from ``offset``, fewer than ``length`` only at the end."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        got = self._octets.read(self._start + offset, length)
        return got if isinstance(got, bytes) else await got


async def _structure(session: Pop3Session, number: int) -> tuple[Part, Octets]:
    account, maildrop = session.opened()
    uids = UidSet.of([(await maildrop.read())[await maildrop.index(number)]])
    for batch in session.store.fetch(account.id, maildrop.inbox.id, uids, (Column.STRUCTURE, Column.OCTETS)):
        for structure, octets in batch:
            try:
                return _tree(structure), octets
            except ValueError as error:
                raise Corrupt(private=f"structure: {error}") from error
    raise NoSuchMessage


def _folder(session: Pop3Session, account: Account, name: str) -> Mailbox:
    """Raises NoSuchMailbox, also for a name that has only folders below it."""
    found = session.store.mailbox(account.id, normalise_name(name))
    if not found.selectable:
        raise NotAllowed("The folder is not empty or in use")
    return found


HANDLERS: Final[Handlers] = {
    commands.ListFolders: list_folders,
    commands.SelectFolder: select,
    commands.CreateFolder: create,
    commands.DeleteFolder: delete,
    commands.RenameFolder: rename,
    commands.MoveFolder: move_folder,
    commands.CopyMessages: copy,
    commands.MoveMessages: move,
    commands.StoreMessage: store,
    commands.Flag: flag,
    commands.ListParts: list_parts,
    commands.GetPart: get_part,
}
