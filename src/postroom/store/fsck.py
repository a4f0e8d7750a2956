"""Whether a shard keeps its invariants, and the repair of what is derived.

Purpose: ``postroom fsck``, and the last word of every test of a store.

Invariants:
- Checking writes nothing. Nobody else should write the shard meanwhile: the check reads one snapshot, but blob files belong to no
  snapshot.
- Repair touches only what can be computed from the rest: counters, references counted, holes, noted keywords, facts. It
  never removes or invents a message, an entry or a UID.
- The answer is bounded: at most ``MOST`` findings of a kind of check.

It must not know: the command line, other shards.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from postroom.mime.facts import FACTS_VERSION, Facts
from postroom.mime.scanner import scan
from postroom.mime.structure import dump_structure
from postroom.model.errors import Corrupt, PostroomError
from postroom.model.flags import MAX_KEYWORDS_PER_MAILBOX, normalise_keywords
from postroom.model.ids import AccountId
from postroom.store.fsck_rows import CONTENT_USES, GAPS, MESSAGE_USES, ROW_CHECKS
from postroom.store.mailbox_names import new_name, superior_names
from postroom.store.sql.connection import connect_reader, connect_writer, lock_file
from postroom.store.sql.messages import REFERENCE_SEPARATOR
from postroom.store.sql.schema import VERSION, schema_version

MOST: Final = 100


@dataclass(slots=True, frozen=True)
class Finding:
    """One broken rule. ``kind`` names the rule in a word or two, ``account`` whom it concerns when it concerns one."""

    kind: str
    account: AccountId | None
    text: str

    def __str__(self) -> str:
        """One line for people."""
        whose = f"account {self.account}: " if self.account is not None else ""
        return f"{self.kind}: {whose}{self.text}"


def check_shard(path: Path, blobs_dir: Path, *, deep: bool = False) -> list[Finding]:
    """Everything that is wrong with the shard at ``path`` whose blob files lie in ``blobs_dir``; empty for a sound one.

    ``deep`` also reads all octets: their digests, and whether the facts are what the scanner finds today. Raises nothing for
    damage: a file that cannot be read at all is one finding.
    """
    try:
        with closing(connect_reader(path)) as db:
            return list(_Check(db, blobs_dir, deep).findings())
    except (apsw.Error, OSError) as error:
        return [Finding("unreadable", None, f"{path.name}: {type(error).__name__}: {error}")]


class _Check:
    def __init__(self, db: apsw.Connection, blobs_dir: Path, deep: bool) -> None:
        self._db = db
        self._blobs = blobs_dir
        self._deep = deep

    def findings(self) -> Iterator[Finding]:
        version = schema_version(self._db)
        if version != VERSION:
            yield Finding("schema", None, f"the file has schema {version}, this program knows {VERSION}")
            return
        damage = list(self._structure())
        yield from damage
        if damage:
            return  # what queries say about such a file means nothing
        self._db.execute("BEGIN")
        try:
            yield from self._rows()
            yield from self._keywords()
            yield from self._names()
            yield from self._files()
            if self._deep:
                yield from self._octets()
        finally:
            self._db.execute("COMMIT")

    def _structure(self) -> Iterator[Finding]:
        pragma = "integrity_check" if self._deep else "quick_check"
        for (text,) in self._db.execute(f"PRAGMA {pragma}({MOST})"):
            if text != "ok":
                yield Finding("damaged", None, str(text))

    def _rows(self) -> Iterator[Finding]:
        for kind, sql in ROW_CHECKS:
            for account, text in self._db.execute(f"SELECT * FROM ({sql}) LIMIT {MOST}"):  # noqa: S608 - constants
                yield Finding(kind, account, str(text))

    def _keywords(self) -> Iterator[Finding]:
        noted: dict[tuple[AccountId, int], set[str]] = {}
        rows: list[Any] = self._db.execute("SELECT * FROM keyword").fetchall()
        for account, mailbox, folded, word in rows:
            noted.setdefault((account, mailbox), set()).add(word)
            if word.lower() != folded:
                yield Finding("keyword", account, f"{word!r} is noted as {folded!r} in mailbox {mailbox}")
        for (account, mailbox), words in noted.items():
            if len(words) > MAX_KEYWORDS_PER_MAILBOX:
                yield Finding("keyword", account, f"mailbox {mailbox} has {len(words)} keywords")
        for account, mailbox, uid, joined in self._db.execute(_KEYWORDS_IN_USE):
            own = tuple(joined.split(" "))
            if normalise_keywords(own) != own:
                yield Finding(
                    "keyword", account, f"UID {uid} of mailbox {mailbox}: {joined!r} is not in order"
                )
            missing = set(own) - noted.get((account, mailbox), set())
            if missing:
                text = f"UID {uid} of mailbox {mailbox} has {' '.join(sorted(missing))!r}, which is not noted"
                yield Finding("keyword", account, text)

    def _names(self) -> Iterator[Finding]:
        rows: list[Any] = self._db.execute("SELECT account, name FROM mailbox").fetchall()
        there = set(rows)
        for account, name in rows:
            try:
                spelt = new_name(name)
            except PostroomError as error:
                yield Finding("mailbox", account, f"name {name!r}: {error.public}")
                continue
            if spelt != name:
                yield Finding("mailbox", account, f"name {name!r} should be {spelt!r}")
            for superior in superior_names(name):
                if (account, superior) not in there:
                    yield Finding("mailbox", account, f"{name!r} lacks its superior name {superior!r}")

    def _files(self) -> Iterator[Finding]:
        for content, size, file in self._db.execute(
            "SELECT id, size, file FROM content WHERE file IS NOT NULL"
        ):
            try:
                found = (self._blobs / file).stat().st_size
            except OSError as error:
                yield Finding("file", None, f"content {content}: {file}: {error.strerror}")
                continue
            if found != size:
                yield Finding("file", None, f"content {content}: {file} has {found} octets instead of {size}")

    def _octets(self) -> Iterator[Finding]:
        for row in self._db.execute("SELECT id, digest, file, octets, structure FROM content"):
            content, digest, file, octets, structure = row
            try:
                octets = _read(self._blobs, file, octets)
            except OSError:
                continue  # _files has told
            if hashlib.sha256(octets).digest() != digest:
                yield Finding("digest", None, f"the octets of content {content} are not what was stored")
            elif structure is not None:
                yield from self._facts(content, scan(octets))

    def _facts(self, content: int, facts: Facts) -> Iterator[Finding]:
        stored = self._db.execute(_SELECT_FACTS, (content,)).fetchall()[0]
        if stored[-1] != FACTS_VERSION:
            return  # an older scanner's: right in its way
        wrong = [
            name for name, one, other in zip(_FACTS, stored, facts_row(facts), strict=True) if one != other
        ]
        if wrong:
            yield Finding("facts", None, f"content {content}: {', '.join(wrong)} differ from the octets")


_KEYWORDS_IN_USE: Final = "SELECT account, mailbox, uid, keywords FROM entry WHERE keywords != ''"
_FACTS: Final = (
    "sent", "sent_day", "message_id", "base_subject", "envelope", "structure", "bodystructure", "body", "preview", "refs",
    "facts_version",
)  # fmt: skip
_SELECT_FACTS: Final = f"SELECT {', '.join(_FACTS)} FROM content WHERE id = ?"  # noqa: S608 - constants
_UPDATE_FACTS: Final = (
    f"UPDATE content SET ({', '.join(_FACTS)}) = ({', '.join('?' * len(_FACTS))}) WHERE id = ?"  # noqa: S608
)


def facts_row(facts: Facts) -> tuple[Any, ...]:
    """The columns of ``content`` that hold facts, in the order of ``_FACTS``."""
    return (
        facts.sent,
        facts.sent_day,
        facts.message_id,
        facts.base_subject,
        facts.envelope,
        dump_structure(facts.root),
        facts.bodystructure,
        facts.body_fields,
        facts.preview,
        REFERENCE_SEPARATOR.join(facts.references),
        facts.version,
    )


def _read(blobs_dir: Path, file: str | None, octets: bytes | None) -> bytes:
    if octets is not None:
        return octets
    return (blobs_dir / (file or "")).read_bytes()


# --- repair


_REPAIRS: Final = (
    "UPDATE entry SET unseen = ~flags & 1, deleted = flags >> 3 & 1",
    "DELETE FROM message_share",
    f"INSERT INTO message_share SELECT key, entries FROM ({MESSAGE_USES}) WHERE entries > 1",  # noqa: S608
    "DELETE FROM content_share",
    f"INSERT INTO content_share SELECT content, refs FROM ({CONTENT_USES}) WHERE refs > 1",  # noqa: S608
    """UPDATE mailbox SET (messages, unseen, deleted, octets) = (
        SELECT count(*), ifnull(sum(flags & 1 = 0), 0), ifnull(sum(flags & 8 != 0), 0), ifnull(sum(size), 0)
        FROM entry e WHERE e.account = mailbox.account AND e.mailbox = mailbox.id)""",
    """UPDATE account SET (messages, octets) = (
        SELECT count(*), ifnull(sum(size), 0) FROM entry e WHERE e.account = account.id) WHERE NOT leaving""",
    "DELETE FROM hole",
    f"INSERT INTO hole SELECT * FROM ({GAPS})",  # noqa: S608
)


def repair_shard(path: Path, blobs_dir: Path, *, facts: bool = False) -> list[Finding]:
    """Compute anew what is derived, in one transaction, and return what is still wrong after it (a deep check with ``facts``).

    With ``facts`` the octets of every message are read and their facts written anew where they differ; octets whose digest is
    wrong are left alone. Raises Unavailable while another process owns the shard, Corrupt when the file is damaged.
    """
    lock = lock_file(path)
    try:
        with closing(connect_writer(path)) as db, db:
            for statement in _REPAIRS:
                db.execute(statement)
            _note_keywords(db)
            if facts:
                _renew_facts(db, blobs_dir)
    except apsw.Error as error:
        raise Corrupt(private=f"{path.name}: {type(error).__name__}: {error}") from error
    finally:
        os.close(lock)
    return check_shard(path, blobs_dir, deep=facts)


def _note_keywords(db: apsw.Connection) -> None:
    rows = {
        (account, mailbox, word.lower(), word)
        for account, mailbox, _, joined in db.execute(_KEYWORDS_IN_USE)
        for word in joined.split(" ")
    }
    db.executemany("INSERT OR IGNORE INTO keyword VALUES (?, ?, ?, ?)", sorted(rows))


def _renew_facts(db: apsw.Connection, blobs_dir: Path) -> None:
    rows: list[Any] = db.execute("SELECT DISTINCT content FROM message").fetchall()
    for (content,) in rows:
        found: list[Any] = db.execute(
            "SELECT digest, file, octets FROM content WHERE id = ?", (content,)
        ).fetchall()
        for digest, file, octets in found:
            try:
                octets = _read(blobs_dir, file, octets)
            except OSError:
                continue
            if hashlib.sha256(octets).digest() == digest:
                db.execute(_UPDATE_FACTS, (*facts_row(scan(octets)), content))
