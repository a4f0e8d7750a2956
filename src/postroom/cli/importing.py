"""``postroom import``: mail from mbox files, Maildirs and folders of .eml.

Invariants: a run that was interrupted goes on where it was and never adds a message twice (``journal``); one message is
in memory at a time; internal dates, flags and keywords come along.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from postroom.cli.exits import Exit, Failed
from postroom.cli.formats.archived import ArchivedMessage, Item, Skipped, header_date
from postroom.cli.formats.eml import read_eml
from postroom.cli.formats.maildir import is_maildir, read_maildir
from postroom.cli.formats.mbox import count_mbox, read_mbox
from postroom.cli.journal import Journal, Unfinished, journal_path
from postroom.cli.offline import open_account, with_store
from postroom.cli.output import Json, complain, console, print_json, say
from postroom.cli.target import current
from postroom.config.paths import DataDir
from postroom.model.account import Account
from postroom.model.errors import InvalidName, LimitExceeded, MailboxExists, NoSuchMailbox
from postroom.model.flags import MAX_KEYWORD_LENGTH
from postroom.model.mailbox import INBOX, Mailbox
from postroom.model.message import NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import Column, MailStore
from postroom.store.directory import Directory
from postroom.wire.imap.values.mailbox import decode_mailbox

BATCH_MESSAGES = 64
BATCH_OCTETS = 8 * 1024 * 1024


class Format(StrEnum):
    """What kind of archive it is. ``auto`` looks at it."""

    AUTO = "auto"
    MBOX = "mbox"
    MAILDIR = "maildir"
    EML = "eml"


@dataclass(slots=True)
class Report:
    """What became of an archive's messages."""

    added: int = 0
    present: int = 0
    skipped: list[Skipped] = field(default_factory=list)


def import_(
    account: str,
    source: Path,
    /,
    *,
    into: str = INBOX,
    format: Format = Format.AUTO,  # noqa: A002
    json: Json = False,
) -> int:
    """Import mail from an mbox file, a Maildir or a folder of .eml files.

    Dates and flags come along; folders of the archive become mailboxes. When it is interrupted, the same command goes on
    where it was. A server may be running: it does the writing then.

    Parameters
    ----------
    account
        Who gets it.
    source
        The archive.
    into
        The mailbox for what is in no folder; unless it is INBOX, folders go below it.
    format
        mbox, maildir or eml; otherwise found out.
    json
        Print what was done as JSON.
    """
    settings = current().settings()
    kind = detect(source) if format is Format.AUTO else format
    limit = settings.limits.message_size
    total = count_archive(source, kind)

    async def work(directory: Directory, store: MailStore) -> Report:
        owner = await open_account(directory, store, account)
        path = journal_path(DataDir(settings.data_dir).journals, source, owner.name, into)
        with Journal(path) as journal, show_progress(total, quiet=json) as progress:
            importer = Importer(store, owner, into, journal)
            await importer.settle()
            for item in read_archive(source, kind, limit):
                await importer.take(item)
                progress.advance(progress.task_ids[0])
            await importer.flush()
            return importer.report

    report = with_store(work, settings)
    if json:
        print_json(
            {
                "added": report.added,
                "present": report.present,
                "skipped": [
                    {"folder": each.folder, "key": each.key, "reason": each.reason} for each in report.skipped
                ],
            }
        )
    else:
        for each in report.skipped:
            complain(f"left out {each.key}: {each.reason}")
        present = f", {report.present} were there from an earlier run" if report.present else ""
        left = f", {len(report.skipped)} left out" if report.skipped else ""
        say(f"imported {report.added} messages into {account}{present}{left}")
    return Exit.FOUND if report.skipped else Exit.OK


def detect(source: Path) -> Format:
    """What kind of archive a path is. Raises Failed."""
    if source.is_dir():
        return Format.MAILDIR if is_maildir(source) else Format.EML
    if source.is_file():
        return Format.EML if source.suffix.lower() == ".eml" else Format.MBOX
    raise Failed(f"{source} does not exist", Exit.NO_INPUT)


def count_archive(source: Path, kind: Format) -> int:
    """About how many messages an archive holds, for the progress bar. Raises OSError."""
    match kind:
        case Format.MBOX:
            with map_file(source) as buffer:
                return count_mbox(buffer)
        case Format.MAILDIR:
            return sum(path.parent.name in {"cur", "new"} for path in source.glob("**/*"))
        case _:
            return sum(path.suffix.lower() == ".eml" for path in source.glob("**/*"))


def read_archive(source: Path, kind: Format, limit: int) -> Iterator[Item]:
    """The messages of an archive. Raises Failed, OSError."""
    try:
        match kind:
            case Format.MBOX:
                with map_file(source) as buffer:
                    yield from read_mbox(buffer, limit=limit)
            case Format.MAILDIR:
                yield from read_maildir(source, lambda name: decode_mailbox(name.encode()), limit)
            case _:
                yield from read_eml(source, limit)
    except ValueError as error:
        raise Failed(f"{source}: {error}") from None


@contextmanager
def map_file(source: Path) -> Iterator[mmap.mmap | bytes]:
    """A file's octets without reading them all. Raises OSError."""
    with source.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            yield b""
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield buffer


@contextmanager
def show_progress(total: int, *, quiet: bool) -> Iterator[Progress]:
    """A bar on standard error that goes up to ``total`` messages."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(error=True), transient=True, disable=quiet) as progress:
        progress.add_task("messages", total=total)
        yield progress


class Importer:
    """Puts messages into one account in batches, each of which is stored whole or not at all."""

    def __init__(self, store: MailStore, account: Account, into: str, journal: Journal) -> None:
        self.store = store
        self.account = account
        self.into = into
        self.journal = journal
        self.report = Report()
        self._mailboxes: dict[str, Mailbox | str] = {}
        self._batch: list[NewMessage] = []
        self._keys: list[str] = []
        self._folder = ""
        self._octets = 0
        self._digest = ""

    async def settle(self) -> None:
        """Find out whether the batch an earlier run ended in was stored. Raises what the store raises."""
        unfinished = self.journal.unfinished
        if unfinished is not None:
            self.journal.end(stored=await self._is_there(unfinished))

    async def _is_there(self, batch: Unfinished) -> bool:
        try:
            mailbox = self.store.mailbox(self.account.id, batch.mailbox)
        except NoSuchMailbox:
            return False
        since = UidSet([(batch.uid_next, max(batch.uid_next, mailbox.uid_next))])
        for rows in self.store.fetch(self.account.id, mailbox.id, since, (Column.OCTETS,)):
            for (octets,) in rows:
                read = octets.read(0, octets.size)
                content = read if isinstance(read, bytes) else await read
                if hashlib.sha256(content).hexdigest() == batch.digest:
                    return True
        return False

    async def take(self, item: Item) -> None:
        """One message of the archive."""
        if isinstance(item, Skipped):
            self.report.skipped.append(item)
            return
        if item.key in self.journal.done:
            self.report.present += 1
            return
        if self._batch and (
            item.folder != self._folder or len(self._batch) >= BATCH_MESSAGES or self._octets > BATCH_OCTETS
        ):
            await self.flush()
        mailbox = await self._mailbox(item.folder)
        if isinstance(mailbox, str):
            self.report.skipped.append(Skipped(item.folder, item.key, mailbox))
            return
        if not self._batch:
            self._folder = item.folder
            self._digest = hashlib.sha256(item.octets).hexdigest()
        self._batch.append(await self._spool(item))
        self._keys.append(item.key)
        self._octets += len(item.octets)

    async def _spool(self, item: ArchivedMessage) -> NewMessage:
        spool = self.store.spool(len(item.octets))
        try:
            for start in range(0, len(item.octets), 65_536):
                pause = spool.write(item.octets[start : start + 65_536])
                if pause is not None:
                    await pause
        except BaseException:
            spool.abort()
            raise
        result = await spool.finish()
        date = item.internal_date
        if date is None:
            date = header_date(item.octets)
        return NewMessage(
            blob=result.blob,
            facts=result.facts,
            internal_date=int(time.time()) if date is None else date,
            zone=item.zone,
            flags=int(item.flags),
            keywords=tuple(word for word in item.keywords if is_keyword(word)),
        )

    async def flush(self) -> None:
        """Store the batch. Raises QuotaExceeded and what else the store raises; the journal then knows what is missing."""
        if not self._batch:
            return
        mailbox = self._mailboxes[self._folder]
        assert isinstance(mailbox, Mailbox)
        present = self.store.mailbox_by_id(self.account.id, mailbox.id)
        self.journal.begin(self._keys, present.name, present.uid_next, self._digest)
        await self.store.append(self.account.id, mailbox.id, self._batch)
        self.journal.end()
        self.report.added += len(self._batch)
        self._batch, self._keys, self._octets = [], [], 0

    async def _mailbox(self, folder: str) -> Mailbox | str:
        """The mailbox for a folder, made when it is missing; or why there cannot be one."""
        known = self._mailboxes.get(folder)
        if known is None:
            known = self._mailboxes[folder] = await self._find(folder)
        return known

    async def _find(self, folder: str) -> Mailbox | str:
        name = unicodedata.normalize("NFC", folder)
        if not folder:
            name = self.into
        elif self.into.upper() != INBOX:
            name = f"{self.into}/{name}"
        account = self.account.id
        try:
            return self.store.mailbox(account, name)
        except NoSuchMailbox:
            pass
        try:
            await self.store.create_mailbox(account, name)
            await self.store.subscribe(account, name, True)
            return self.store.mailbox(account, name)
        except (InvalidName, LimitExceeded, MailboxExists, NoSuchMailbox) as error:
            return error.public


def is_keyword(word: str) -> bool:
    """Whether a word can be a keyword: an IMAP atom that is no system flag (RFC 3501 §9 flag-keyword)."""
    return (
        0 < len(word) <= MAX_KEYWORD_LENGTH
        and word.isascii()
        and word.isprintable()
        and not any(each in ' (){%*"\\]' for each in word)
    )
