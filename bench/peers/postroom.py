"""postroom itself, as it is by default but for passwords in clear on loopback (protocol figures are without TLS)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.support.live import LiveServer

from bench.server import ACCOUNTS, DOMAIN, PASSWORD, Server, Unavailable

_CONNECTIONS = 10_000


class Postroom(Server):
    """With as many workers as it has cores."""

    name = "postroom"
    process_each = False
    services = frozenset({"smtp", "lmtp", "pop3", "imap", "imaps", "argon2id"})

    def __init__(self, folder: Path, cores: Sequence[int] = (), *, workers: int = 0) -> None:
        super().__init__(folder, cores)
        self._live = LiveServer(
            folder,
            workers=workers or len(self.cores) or (os.cpu_count() or 1),
            cleartext=True,
            extra_config=(
                f"[limits]\nconnections_per_ip = {_CONNECTIONS}\nimap_connections_per_user = {_CONNECTIONS}\n"
            ),
        )

    @property
    def live(self) -> LiveServer:
        """The server as the tests have it, for what is not measured."""
        return self._live

    def start(self) -> None:
        try:
            self._start()
        except AssertionError as error:
            raise Unavailable(f"postroom does not start: {error}") from error

    def _start(self) -> None:
        live = self._live
        live.write_config()
        live.run("init")
        live.run("domain", "add", DOMAIN)
        table = self.folder / "accounts.csv"
        table.write_text("name,password\n" + "".join(f"{name}@{DOMAIN},{PASSWORD}\n" for name in ACCOUNTS))
        live.run("account", "import", str(table))
        if self.cores:
            live.program = ("taskset", "-c", ",".join(map(str, self.cores)), *live.program)
        live.start()
        self.process = live.process
        self.ports = {name: live.port(name) for name in self.services - {"argon2id"}}

    def stop(self) -> None:
        if self.process is not None:
            self._live.stop()
            self.process = None
