"""How far an import came: what makes a second run add only what is missing.

One journal per source, account and mailbox, in the data directory. Each batch is written twice: ``begin`` with its keys and
the mailbox's next UID before it is stored, ``end`` after. A batch that has no end is looked for in the store when the
import goes on: a batch is stored whole or not at all.

Invariants: a line counts only when it is whole; ``begin`` is on the disk before anything is stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass(slots=True, frozen=True)
class Unfinished:
    """A batch that may have been stored: where, from which UID on, and the first message's SHA-256."""

    keys: tuple[str, ...]
    mailbox: str
    uid_next: int
    digest: str


def journal_path(directory: Path, source: Path, account: str, mailbox: str) -> Path:
    """The journal of one import: the same source into the same place finds it again."""
    identity = "\0".join((str(source.resolve()), account, mailbox))
    return directory / f"import-{hashlib.sha256(identity.encode()).hexdigest()[:24]}.jsonl"


class Journal:
    """A context manager around the journal's file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[str] = set()
        self.unfinished: Unfinished | None = None
        self._stream: BufferedWriter | None = None

    def __enter__(self) -> Self:
        """Read what was done and open the file. Raises OSError."""
        good = 0
        if self.path.exists():
            for line in self.path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or not self._take(line):
                    break
                good += len(line)
        self._stream = self.path.open("ab")
        os.truncate(self._stream.fileno(), good)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def _take(self, line: bytes) -> bool:
        """One line of an earlier run; False when it makes no sense."""
        try:
            entry: dict[str, Any] = json.loads(line)
            if "begin" in entry:
                self.unfinished = Unfinished(
                    tuple(entry["begin"]), entry["mailbox"], entry["uid_next"], entry["digest"]
                )
            elif self.unfinished is not None:
                if entry["end"]:
                    self.done.update(self.unfinished.keys)
                self.unfinished = None
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def begin(self, keys: Sequence[str], mailbox: str, uid_next: int, digest: str) -> None:
        """A batch is about to be stored. Durable on return; raises OSError."""
        self.unfinished = Unfinished(tuple(keys), mailbox, uid_next, digest)
        self._write({"begin": list(keys), "mailbox": mailbox, "uid_next": uid_next, "digest": digest})

    def end(self, *, stored: bool = True) -> None:
        """The batch was stored, or certainly was not. Durable on return; raises OSError."""
        assert self.unfinished is not None
        if stored:
            self.done.update(self.unfinished.keys)
        self.unfinished = None
        self._write({"end": stored})

    def _write(self, entry: dict[str, Any]) -> None:
        assert self._stream is not None
        self._stream.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
