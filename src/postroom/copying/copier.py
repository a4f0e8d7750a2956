"""The copier: makes the target's mailboxes hold what the source's hold.

Invariants:
- The source is never changed. On the target nothing is removed unless asked for, and then only what was copied there before.
- A message is on the target once: what is there already with the same octets is taken for it, which is also how a run that was
  cut off goes on. Flags follow the source.
- One message the target refuses is reported and does not stop the rest.

It must not know: connections, the command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from postroom.collect.remote import RemoteRefused
from postroom.copying.account import Folder, ImapAccount, Message, Opened, batches, flags_of
from postroom.copying.folders import map_folders
from postroom.copying.ledger import Copied, Ledger
from postroom.model.mailbox import INBOX


@dataclass(slots=True)
class FolderReport:
    """What became of one mailbox."""

    source: str
    target: str
    made: bool = False
    messages: int = 0
    copied: int = 0
    adopted: int = 0
    """Were there already."""
    flagged: int = 0
    removed: int = 0
    octets: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Wishes:
    """``remove``: what is gone from the source goes from the target too. ``dry_run``: only say what would be done."""

    remove: bool = False
    dry_run: bool = False


@dataclass(slots=True, frozen=True)
class InboxCopy:
    """UIDVALIDITY and messages of the source's INBOX, and the target's UIDs by the source's."""

    uid_validity: int
    messages: Sequence[Message]
    copied: dict[int, int]


class Copier:
    """One account to one account."""

    def __init__(
        self,
        job: str,
        source: ImapAccount,
        target: ImapAccount,
        ledger: Ledger,
        wishes: Wishes,
        progress: Callable[[str, int, int], None] = lambda _folder, _done, _total: None,
    ) -> None:
        """``job`` names the pair of accounts for ever; ``progress`` is told mailbox, messages done, messages in all."""
        self._job = job
        self._source = source
        self._target = target
        self._ledger = ledger
        self._wishes = wishes
        self._progress = progress

    async def folders(self) -> list[tuple[Folder, Folder, bool]]:
        """Which mailbox goes where."""
        return map_folders(
            await self._source.folders(), await self._target.folders(), await self._target.separator()
        )

    async def copy(self) -> list[FolderReport]:
        """Everything. Raises Unavailable and RemoteProtocolError when a session breaks off; the next run goes on."""
        reports = []
        for source, target, exists in await self.folders():
            report = FolderReport(source.name, target.name, made=not exists)
            reports.append(report)
            try:
                if not exists and not self._wishes.dry_run:
                    await self._target.create(target)
                    if source.subscribed:
                        await self._target.subscribe(target)
                await _FolderCopy(self, source, target, report).run(exists=exists)
            except RemoteRefused as error:
                report.problems.append(error.private or error.public)
        return reports

    async def inbox(self) -> InboxCopy:
        """How INBOX was copied; for afterwards."""
        source = Folder(INBOX, (INBOX,))
        opened = await self._source.open(source)
        place = await self._target.open(source)
        number = self._ledger.folder(self._job, (INBOX, opened.uid_validity), (INBOX, place.uid_validity))
        pairs = {row.source: row.target for row in self._ledger.copied(number).values()}
        return InboxCopy(opened.uid_validity, await self._source.messages(opened), pairs)

    # --- for _FolderCopy

    @property
    def sides(self) -> tuple[ImapAccount, ImapAccount]:
        """Source and target."""
        return self._source, self._target

    @property
    def ledger(self) -> Ledger:
        """Where it is written down."""
        return self._ledger

    @property
    def wishes(self) -> Wishes:
        """What is asked for."""
        return self._wishes

    @property
    def job(self) -> str:
        """The name of the pair."""
        return self._job

    def tell(self, folder: str, done: int, total: int) -> None:
        """Report progress."""
        self._progress(folder, done, total)


class _FolderCopy:
    """One mailbox to one mailbox."""

    def __init__(self, copier: Copier, source: Folder, target: Folder, report: FolderReport) -> None:
        self._copier = copier
        self._source, self._target = copier.sides
        self._from, self._to = source, target
        self._report = report
        self._unclaimed: dict[int, list[Message]] = {}
        self._digests: dict[int, bytes] = {}
        self._number = 0

    async def run(self, *, exists: bool) -> None:
        wishes, report = self._copier.wishes, self._report
        opened = await self._source.open(self._from)
        messages = await self._source.messages(opened)
        report.messages = len(messages)
        if wishes.dry_run and not exists:
            report.copied = len(messages)
            return
        place = await self._target.open(self._to, write=not wishes.dry_run)
        present = {message.uid: message for message in await self._target.messages(place)}
        self._number = self._copier.ledger.folder(
            self._copier.job,
            (self._from.name, opened.uid_validity),
            (self._to.name, place.uid_validity),
        )
        known = {
            uid: row for uid, row in self._copier.ledger.copied(self._number).items() if row.target in present
        }
        fresh = [message for message in messages if message.uid not in known]
        if wishes.dry_run:
            report.copied = len(fresh)
            return
        claimed = {row.target for row in known.values()}
        for message in present.values():
            if message.uid not in claimed:
                self._unclaimed.setdefault(message.size, []).append(message)
        done = len(messages) - len(fresh)
        for batch in batches(fresh):
            await self._copy(batch, place)
            done += len(batch)
            self._copier.tell(self._from.name, done, len(messages))
        await self._follow_flags(messages, known)
        await self._remove(messages, known)

    async def _copy(self, batch: Sequence[Message], place: Opened) -> None:
        """Append what is not there yet, and write down what is."""
        waiting: list[tuple[Message, bytes]] = []
        adopted: list[tuple[Message, int, bytes]] = []
        async for message, octets in self._source.octets(batch):
            digest = hashlib.sha256(octets).digest()
            twin = await self._find_twin(len(octets), digest)
            if twin is None:
                waiting.append((message, octets))
                continue
            adopted.append((message, twin.uid, digest))
            if flags_of(twin) != flags_of(message):
                await self._target.set_flags(twin.uid, message)
                self._report.flagged += 1
        waiting.sort(key=lambda pair: pair[0].uid)
        self._write(adopted)
        self._report.adopted += len(adopted)
        if waiting:
            await self._append(waiting, place)

    async def _append(self, waiting: Sequence[tuple[Message, bytes]], place: Opened) -> None:
        try:
            uids = await self._target.append(self._to, waiting)
        except RemoteRefused as error:
            if len(waiting) == 1:
                self._report.problems.append(f"UID {waiting[0][0].uid}: {error.private or error.public}")
                return
            # One of them may be to blame: each alone.
            for one in waiting:
                await self._append([one], place)
            return
        self._report.copied += len(waiting)
        self._report.octets += sum(len(octets) for _, octets in waiting)
        if uids is not None:
            self._write(
                [
                    (message, uid, hashlib.sha256(octets).digest())
                    for (message, octets), uid in zip(waiting, uids, strict=True)
                ]
            )
            return
        # The server does not say where they are: they are found by their octets.
        place.exists += len(waiting)
        before = {message.uid for group in self._unclaimed.values() for message in group}
        before |= {row.target for row in self._copier.ledger.copied(self._number).values()}
        fresh = [message for message in await self._target.messages(place) if message.uid not in before]
        for message in fresh:
            self._unclaimed.setdefault(message.size, []).append(message)
        placed = []
        for message, octets in waiting:
            digest = hashlib.sha256(octets).digest()
            twin = await self._find_twin(len(octets), digest)
            if twin is not None:
                placed.append((message, twin.uid, digest))
        self._write(placed)

    async def _find_twin(self, size: int, digest: bytes) -> Message | None:
        """A message on the target that nothing was taken for yet, with these octets."""
        candidates = self._unclaimed.get(size, [])
        unknown = [message for message in candidates if message.uid not in self._digests]
        if unknown:
            async for message, octets in self._target.octets(unknown):
                self._digests[message.uid] = hashlib.sha256(octets).digest()
        for message in candidates:
            if self._digests.get(message.uid) == digest:
                candidates.remove(message)
                return message
        return None

    def _write(self, placed: Sequence[tuple[Message, int, bytes]]) -> None:
        self._copier.ledger.add(
            self._number,
            [Copied(message.uid, uid, digest, flags_of(message)) for message, uid, digest in placed],
        )

    async def _follow_flags(self, messages: Sequence[Message], known: dict[int, Copied]) -> None:
        for message in messages:
            row = known.get(message.uid)
            if row is None or row.flags == flags_of(message):
                continue
            await self._target.set_flags(row.target, message)
            self._copier.ledger.add(
                self._number, [Copied(row.source, row.target, row.digest, flags_of(message))]
            )
            self._report.flagged += 1

    async def _remove(self, messages: Sequence[Message], known: dict[int, Copied]) -> None:
        here = {message.uid for message in messages}
        gone = [row for uid, row in known.items() if uid not in here]
        if not self._copier.wishes.remove or not gone:
            return
        if not await self._target.expunge([row.target for row in gone]):
            self._report.problems.append("nothing was removed: the target has no UIDPLUS")
            return
        self._copier.ledger.forget(self._number, [row.source for row in gone])
        self._report.removed = len(gone)
