"""``postroom mailbox uidl``: the unique ids that messages had on another server, so that POP3 clients do not fetch all again."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cyclopts import App

from postroom.app.pop3 import UniqueIdFiles
from postroom.cli.exits import Exit, Failed
from postroom.cli.offline import open_account, with_store
from postroom.cli.output import Json, complain, print_json, say
from postroom.cli.target import current
from postroom.model.errors import InvalidName, PostroomError
from postroom.model.ids import AccountId
from postroom.model.mailbox import INBOX
from postroom.model.uidset import UidSet
from postroom.session.pop3.uniqueids import check_unique_id
from postroom.store.api import Column, MailStore
from postroom.store.directory import Directory

app = App(name="uidl", help="Unique ids (UIDL) that messages had on another POP3 server.")

_COLUMNS: Final = ("uid", "message_id", "uidl")


@dataclass(slots=True)
class _Report:
    kept: int = 0
    complaints: list[str] = field(default_factory=list)


@app.command(name="import")
def import_(account: str, file: Path, /, *, json: Json = False) -> int:
    """Give messages of INBOX the unique ids they had, from a CSV file.

    The first line names the columns: `uidl`, and `uid` (the UID here) or `message_id`. Ids that are known already stay unless the
    file has another one for the message. Lines that cannot be used are told and left out. After a copy by IMAP, which keeps
    UIDs where it can, a list of the old server's UIDL and UID is all that is needed.

    Parameters
    ----------
    account
        Whose INBOX.
    file
        The CSV file, in UTF-8.
    json
        Print what was done as JSON.
    """
    rows = list(_read(file))
    files = UniqueIdFiles(current().data(current().settings()).pop3_unique_ids)

    async def work(directory: Directory, store: MailStore) -> _Report:
        found = await open_account(directory, store, account)
        return _give(files, store, found.id, rows)

    report = with_store(work)
    for text in report.complaints:
        complain(text)
    if json:
        print_json({"kept": report.kept, "complaints": report.complaints})
    else:
        say(f"{report.kept} unique ids of {account} kept")
    return Exit.FOUND if report.complaints else Exit.OK


def _read(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines by number. Raises Failed, OSError."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            columns = {name.strip().lower() for name in reader.fieldnames or ()}
            if "uidl" not in columns or not columns & {"uid", "message_id"} or columns - set(_COLUMNS):
                raise Failed(f"{file}: the columns are uidl, and uid or message_id")
            for row in reader:
                yield (
                    reader.line_num,
                    {str(name).strip().lower(): (value or "").strip() for name, value in row.items()},
                )
        except UnicodeDecodeError:
            raise Failed(f"{file} is not UTF-8 text") from None
        except csv.Error as error:
            raise Failed(f"{file}:{reader.line_num}: {error}") from None


def _give(
    files: UniqueIdFiles, store: MailStore, account: AccountId, rows: Iterable[tuple[int, dict[str, str]]]
) -> _Report:
    inbox = store.mailbox(account, INBOX)
    report = _Report()
    ids = dict(files.load(account, inbox.uid_validity))
    present, by_message_id = _messages(store, account)
    taken = {unique_id: uid for uid, unique_id in ids.items()}
    for line, row in rows:
        try:
            unique_id = check_unique_id(row["uidl"], inbox.uid_validity)
            uid = _named(row, present, by_message_id)
            if taken.get(unique_id, uid) != uid:
                raise InvalidName("The unique id belongs to another message already")
        except PostroomError as error:
            report.complaints.append(f"line {line}: {error.public}")
            continue
        taken.pop(ids.get(uid, ""), None)
        ids[uid] = unique_id
        taken[unique_id] = uid
        report.kept += 1
    # Messages that have gone need none any more.
    files.save(account, inbox.uid_validity, {uid: kept for uid, kept in ids.items() if uid in present})
    return report


def _messages(store: MailStore, account: AccountId) -> tuple[set[int], dict[str, int]]:
    """The UIDs of INBOX, and by Message-ID those that have one of their own; 0 for one that several have."""
    inbox = store.mailbox(account, INBOX)
    present: set[int] = set()
    named: dict[str, int] = {}
    if inbox.uid_next > 1:
        wanted = UidSet([(1, inbox.uid_next - 1)])
        for batch in store.fetch(account, inbox.id, wanted, (Column.UID, Column.ENVELOPE)):
            for uid, envelope in batch:
                present.add(uid)
                # The last of the envelope's strings (RFC 3501 §7.4.2 ENVELOPE).
                text = envelope[envelope.rfind(b' "') + 2 : -2].decode("ascii", "replace")
                if envelope.endswith(b'")') and text.startswith("<"):
                    named[text] = 0 if text in named else uid
    return present, named


def _named(row: dict[str, str], present: set[int], by_message_id: dict[str, int]) -> int:
    """The message a line is about. Raises InvalidName."""
    if row.get("uid"):
        uid = int(row["uid"]) if row["uid"].isascii() and row["uid"].isdigit() and len(row["uid"]) < 11 else 0
        if uid not in present:
            raise InvalidName("INBOX has no message with this UID")
        return uid
    text = row.get("message_id", "")
    found = by_message_id.get(text if text.startswith("<") else f"<{text}>")
    if found is None:
        raise InvalidName("INBOX has no message with this Message-ID")
    if not found:
        raise InvalidName("Several messages have this Message-ID")
    return found
