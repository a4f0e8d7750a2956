"""Collecting by a running server: a task for each source that has an interval.

Invariants: only one process of a server has this (the first worker); a source that fails is left alone for longer and longer,
with jitter, and never disturbs another; ``close`` ends everything at a point from which the next start goes on. By
IMAP the session stays open where the server has IDLE, so that new mail comes at once.

It must not know: protocols, ledgers.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import apsw
import structlog

from postroom.app.collecting import Outcome, collect_source
from postroom.app.provision import Provisioner
from postroom.collect.collector import Report
from postroom.collect.imap import ImapMailbox
from postroom.collect.remote import RemoteMailbox
from postroom.config.paths import DataDir
from postroom.config.settings import Settings
from postroom.config.sources import Source
from postroom.model.errors import PostroomError
from postroom.store.api import MailStore
from postroom.store.directory import Directory

_log = structlog.get_logger("postroom.collect")

_FIRST_PAUSE: Final = 30.0
"""Seconds after a first failure, unless the interval is shorter."""
_LONGEST_PAUSE: Final = 3600.0
_SPREAD: Final = 0.1
_IDLE_SECONDS: Final = 25 * 60.0
"""A server may end a session that is silent for 30 minutes (RFC 2177 §3)."""


class Meter(Protocol):
    """What is counted (``app.metrics``)."""

    def collected(self, messages: int, octets: int, result: str) -> None:
        """A source was collected from; ``result`` is ok, problems or failed."""


@dataclass(slots=True, frozen=True)
class Rhythm:
    """When a source is due again. ``interval`` in seconds; ``chance`` gives numbers from 0 to 1."""

    interval: float
    chance: Callable[[], float] = random.random

    def pause(self, failures: int) -> float:
        """Seconds to the next run after so many failures in a row: the interval, or twice as long with each failure up to an
        hour (or the interval, if that is longer), of which between half and all is waited."""
        if not failures:
            return self.interval * (1 - _SPREAD * self.chance())
        first = min(self.interval, _FIRST_PAUSE)
        longest = max(self.interval, _LONGEST_PAUSE)
        return float(min(longest, first * 2.0 ** min(failures - 1, 32))) * (0.5 + 0.5 * self.chance())

    def first(self) -> float:
        """Seconds to the first run: sources do not all begin at once."""
        return min(self.interval, 5.0) * self.chance()


class CollectingService:
    """Everything a server collects by itself."""

    def __init__(
        self,
        settings: Settings,
        data: DataDir,
        store: MailStore,
        directory: Directory,
        provisioner: Provisioner,
        meter: Meter,
    ) -> None:
        self._sources = [source for source in settings.collect if source.interval]
        self._data = data
        self._store = store
        self._directory = directory
        self._provisioner = provisioner
        self._meter = meter
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._follow(source)) for source in self._sources]

    async def close(self) -> None:
        """End; what has come whole is stored."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _follow(self, source: Source) -> None:
        rhythm = Rhythm(float(source.interval))
        failures = 0
        await asyncio.sleep(rhythm.first())
        while True:
            turn = _Turn(source, rhythm, self._told)
            try:
                error = await self._run(source, turn)
            except (PostroomError, OSError, apsw.Error) as failure:
                error = _why(failure)
            except Exception:  # noqa: BLE001 - a bug with one source must not end it for ever
                _log.exception("internal error", source=source.name)
                error = "internal error"
            if error:
                # A session that went well for a while begins to count anew.
                failures = 1 if turn.rounds else failures + 1
                self._meter.collected(0, 0, "failed")
            else:
                failures = 0
            pause = rhythm.pause(failures)
            if error:
                _log.warning(
                    "collecting failed",
                    source=source.name,
                    reason=error,
                    failures=failures,
                    again_in=round(pause),
                )
            await asyncio.sleep(pause)

    async def _run(self, source: Source, turn: _Turn) -> str:
        """One session; empty, or why it ended early."""
        account = self._directory.account(source.account)
        if account is None:
            return f"there is no account {source.account}"
        await self._provisioner.welcome(account)
        outcome: Outcome = await collect_source(
            self._data, self._store, source, account, directory=self._directory, stay=turn.stay
        )
        if outcome.error and outcome.report is not turn.last and outcome.report.stored:
            self._told(source, outcome.report)
        return outcome.error

    def _told(self, source: Source, report: Report) -> None:
        self._meter.collected(report.stored, report.octets, "problems" if report.problems else "ok")
        for key, why in report.problems:
            _log.warning("message left where it is", source=source.name, key=key, reason=why)
        _log.info(
            "collected",
            source=source.name,
            listed=report.listed,
            stored=report.stored,
            octets=report.octets,
            filtered=report.filtered,
            deleted=report.deleted,
        )


class _Turn:
    """What happens between the runs of one session."""

    def __init__(self, source: Source, rhythm: Rhythm, told: Callable[[Source, Report], None]) -> None:
        self._source = source
        self._rhythm = rhythm
        self._told = told
        self.rounds = 0
        self.last: Report | None = None

    async def stay(self, remote: RemoteMailbox, report: Report) -> bool:
        """Implements ``app.collecting.Stay``: waits in IDLE for new mail, or until the source is due anyway."""
        self.rounds += 1
        self.last = report
        self._told(self._source, report)
        if not isinstance(remote, ImapMailbox) or not remote.can_wait:
            return False
        end = time.monotonic() + self._rhythm.pause(0)
        while (left := end - time.monotonic()) > 0:
            if await remote.wait(min(left, _IDLE_SECONDS)):
                break
        return True


def _why(error: Exception) -> str:
    if isinstance(error, PostroomError):
        return error.private or error.public
    return str(error)
