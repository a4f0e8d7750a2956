"""One worker: a loop, its share of the shards, every protocol.

Invariants: a worker writes only to the shards it owns (number modulo workers); everything else crosses a shard link.
When its store latches after an I/O error it stops acknowledging at once and ends, so that the parent starts a fresh one.
SIGTERM: accept no more, let every session take leave, make what was acknowledged durable (it is), close.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

import structlog

from postroom.app.certificates import Certificates
from postroom.app.collecting_service import CollectingService
from postroom.app.metrics import ServiceMetrics
from postroom.app.process import new_event_loop, tune_allocator
from postroom.app.services import Services
from postroom.app.sockets import BoundListener
from postroom.app.storage import WorkerStorage
from postroom.config import logging as log_setup
from postroom.config.paths import DataDir
from postroom.config.settings import Settings

_log = structlog.get_logger("postroom.worker")

_TICK: Final = 1.0
_CERTIFICATE_LOOK: Final = 10
_LEAVE_SECONDS: Final = 10.0
EX_TEMPFAIL: Final = 75


def main(
    settings: Settings, number: int, workers: int, bound: list[BoundListener], ready: Callable[[], None]
) -> int:
    """Run worker ``number`` of ``workers`` until SIGTERM; returns the exit status."""
    log_setup.configure(settings.log)
    structlog.contextvars.bind_contextvars(worker=number)
    tune_allocator()
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(Worker(settings, number, workers, bound, loop).run(ready))
    finally:
        loop.close()


class Worker:
    """Holds what a worker is made of while it runs."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        workers: int,
        bound: list[BoundListener],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._settings = settings
        self._number = number
        self._workers = workers
        self._bound = bound
        self._loop = loop
        self._data = DataDir(settings.data_dir)
        self._stop = asyncio.Event()
        self._failed: str | None = None

    async def run(self, ready: Callable[[], None]) -> int:
        """Serve until told to stop or until the store fails; returns the exit status."""
        settings, data = self._settings, self._data
        self._loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        certificates = Certificates(
            settings.tls.certificate or data.certificate,
            settings.tls.key or data.key,
            settings.tls.minimum,
            exports=settings.authentication.channel_binding,
        )
        self._loop.add_signal_handler(signal.SIGHUP, certificates.look)
        metrics = ServiceMetrics()
        storage = await WorkerStorage.open(settings, data, self._number, self._workers, self._loop, metrics)
        try:
            services = Services(
                settings,
                storage.store,
                storage.directory,
                certificates=certificates,
                metrics=metrics,
                loop=self._loop,
                workers=self._workers,
            )
            services.outgoing.start()
            await services.provisioner.follow()
            for bound in self._bound:
                await services.listen(bound.listener, bound.for_worker(self._number))
            ticker = self._loop.create_task(self._tick(services, storage, certificates))
            collecting = CollectingService(
                settings, data, storage.store, storage.directory, services.provisioner, metrics
            )
            if self._number == 0:
                collecting.start()
            ready()
            try:
                await self._stop.wait()
                await self._leave(services)
            finally:
                ticker.cancel()
                await collecting.close()
                await services.close()
        finally:
            await storage.close()
        return EX_TEMPFAIL if self._failed else 0

    async def _tick(self, services: Services, storage: WorkerStorage, certificates: Certificates) -> None:
        count = 0
        while True:
            await asyncio.sleep(_TICK)
            count += 1
            services.tick(self._loop.time())
            await services.provisioner.follow()
            if count % _CERTIFICATE_LOOK == 0:
                certificates.look()
            failed = storage.failed
            if failed and not self._failed:
                self._failed = failed
                _log.critical("store failed, worker ends to recover", reason=failed)
                self._stop.set()

    async def _leave(self, services: Services) -> None:
        services.stop_listening()
        services.shut_down()
        end = self._loop.time() + _LEAVE_SECONDS
        while services.connections and self._loop.time() < end:  # noqa: ASYNC110 - a few turns at the very end
            await asyncio.sleep(0.02)
        services.abort()
        await asyncio.sleep(0)
