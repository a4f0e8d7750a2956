"""``postroom export``: an account's mail as mbox files, a Maildir or a folder of .eml.

Invariants: octets leave as they were stored; an export can be repeated and adds what is new; nothing is written outside the
target, whatever a mailbox is called.
"""

from __future__ import annotations

import json as json_codec
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from postroom.cli.exits import Exit, Failed
from postroom.cli.formats import eml, maildir
from postroom.cli.formats.archived import ArchivedMessage
from postroom.cli.formats.mbox import mbox_record
from postroom.cli.importing import Format, show_progress
from postroom.cli.offline import open_account, with_store
from postroom.cli.output import Json, print_json, say
from postroom.config.private_file import write_private
from postroom.model.account import Account
from postroom.model.flags import SystemFlag
from postroom.model.mailbox import INBOX, SEPARATOR, Mailbox
from postroom.model.uidset import UidSet
from postroom.store.api import Column, MailStore, Row
from postroom.store.directory import Directory
from postroom.wire.imap.values.mailbox import encode_mailbox

COLUMNS: Final = (
    Column.UID,
    Column.FLAGS,
    Column.KEYWORDS,
    Column.INTERNAL_DATE,
    Column.ZONE,
    Column.OCTETS,
    Column.ENVELOPE_FROM,
)
MAX_UID: Final = 0xFFFFFFFF


@dataclass(slots=True)
class Report:
    """What was written."""

    written: int = 0
    present: int = 0


def export(
    account: str,
    target: Path,
    /,
    *,
    format: Format = Format.MAILDIR,  # noqa: A002
    mailbox: list[str] | None = None,
    json: Json = False,
) -> int:
    """Export an account's mail as a Maildir, mbox files or .eml files.

    Dates and flags go along. The same command again adds what has come since. A server may be running.

    Parameters
    ----------
    account
        Whose mail.
    target
        The directory to write into; with --format mbox and a single mailbox, a name that ends in .mbox is the file.
    format
        maildir, mbox or eml.
    mailbox
        Only this mailbox; may be given several times.
    json
        Print what was done as JSON.
    """
    if format is Format.AUTO:
        raise Failed("an export needs a format", Exit.USAGE, "one of maildir, mbox, eml")
    chosen = mailbox or []

    async def work(directory: Directory, store: MailStore) -> Report:
        owner = await open_account(directory, store, account)
        boxes = [store.mailbox(owner.id, name) for name in chosen] or [
            each for each in store.mailboxes(owner.id) if each.selectable
        ]
        if format is Format.MBOX and target.suffix == ".mbox" and len(boxes) != 1:
            raise Failed(
                "one mbox file holds one mailbox", Exit.USAGE, "choose it with --mailbox, or name a directory"
            )
        with show_progress(sum(each.messages for each in boxes), quiet=json) as progress:
            exporter = Exporter(store, owner, target, progress)
            for box in boxes:
                await exporter.export(box, format)
            return exporter.report

    report = with_store(work)
    if json:
        print_json({"written": report.written, "present": report.present})
    else:
        present = f", {report.present} were there already" if report.present else ""
        say(f"exported {report.written} messages of {account} to {target}{present}")
    return Exit.OK


class Exporter:
    """Writes the mailboxes of one account below ``target``."""

    def __init__(self, store: MailStore, account: Account, target: Path, progress: Progress) -> None:
        self.store = store
        self.account = account
        self.target = target
        self.progress = progress
        self.report = Report()

    async def export(self, box: Mailbox, kind: Format) -> None:
        """One mailbox. Raises OSError and what the store raises."""
        match kind:
            case Format.MBOX:
                await self._to_mbox(box)
            case Format.EML:
                folder = eml.EmlFolder(
                    self.target.joinpath(*map(eml.folder_directory, box.name.split(SEPARATOR)))
                )
                folder.make()
                await self._to_folder(box, folder, {path.stem for path in folder.directory.glob("*.eml")})
            case _:
                writer = maildir.MaildirFolder(self._maildir(box))
                writer.make()
                there = {path.name.partition(":")[0] for path in (writer.directory / "cur").iterdir()}
                await self._to_folder(box, writer, there)

    def _maildir(self, box: Mailbox) -> Path:
        if box.name == INBOX:
            return self.target
        return self.target / maildir.folder_directory(
            box.name, lambda level: encode_mailbox(level).decode("ascii")
        )

    async def _to_folder(
        self, box: Mailbox, folder: eml.EmlFolder | maildir.MaildirFolder, there: set[str]
    ) -> None:
        for rows in self._rows(box, 1):
            for row in rows:
                unique = f"{row[0]:010}.V{box.uid_validity}.postroom"
                if unique in there:
                    self._advance(written=False)
                    continue
                folder.write(await self._message(box, row), unique)
                self._advance(written=True)

    async def _to_mbox(self, box: Mailbox) -> None:
        """Append to the file; a note beside it tells the last UID and the length, so that a half record is cut off."""
        path = self._mbox_file(box)
        path.parent.mkdir(parents=True, exist_ok=True)
        note = path.with_name(f".{path.name}.export")
        last, length = _read_note(note, path, box)
        skipped = sum(1 for uid in self.store.uids(self.account.id, box.id) if uid <= last)
        self.report.present += skipped
        self.progress.advance(self.progress.task_ids[0], skipped)
        with path.open("r+b" if length else "wb") as stream:
            stream.truncate(length)
            stream.seek(length)
            for rows in self._rows(box, last + 1):
                for row in rows:
                    stream.write(mbox_record(await self._message(box, row), row[6] or ""))
                    last = row[0]
                    self._advance(written=True)
                stream.flush()
                entry = {"uid_validity": box.uid_validity, "uid": last, "length": stream.tell()}
                write_private(note, json_codec.dumps(entry).encode())

    def _mbox_file(self, box: Mailbox) -> Path:
        if self.target.suffix == ".mbox":
            return self.target
        *above, name = map(eml.folder_directory, box.name.split(SEPARATOR))
        return self.target.joinpath(*above, f"{name}.mbox")

    def _rows(self, box: Mailbox, first: int) -> Iterator[list[Row]]:
        if first > MAX_UID:
            return iter(())
        return self.store.fetch(self.account.id, box.id, UidSet([(first, MAX_UID)]), COLUMNS)

    async def _message(self, box: Mailbox, row: Row) -> ArchivedMessage:
        uid, flags, keywords, date, zone, octets, _ = row
        read = octets.read(0, octets.size)
        content = read if isinstance(read, bytes) else await read
        words = tuple(keywords.split())
        return ArchivedMessage(box.name, str(uid), content, date, zone, SystemFlag(flags), words)

    def _advance(self, *, written: bool) -> None:
        if written:
            self.report.written += 1
        else:
            self.report.present += 1
        self.progress.advance(self.progress.task_ids[0])


def _read_note(note: Path, path: Path, box: Mailbox) -> tuple[int, int]:
    """The last UID in the file and the file's good length; (0, 0) to begin anew. Raises Failed for a foreign file."""
    try:
        entry: dict[str, Any] = json_codec.loads(note.read_bytes())
        if entry["uid_validity"] == box.uid_validity and path.stat().st_size >= entry["length"]:
            return int(entry["uid"]), int(entry["length"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    if path.exists() and path.stat().st_size and not note.exists():
        raise Failed(f"{path} exists and is not an export of this mailbox", Exit.EXISTS)
    return 0, 0
