"""postroom with as many accounts as wanted, all with one password, whose hash is as cheap as can be: logins are not measured.

Invariants: the accounts are u0, u1 ... of the test domain; everything lies in a temporary directory and is ended with it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from tests.support.live import DOMAIN, PASSWORD, LiveServer

from bench.server import Server

_CONFIG: Final = """
[limits]
connections_per_ip = 100000
imap_connections_per_user = 10000
[auth]
argon2_memory = 8388608
argon2_time = 1
"""


class Crowd(Server):
    """A postroom of these accounts, seen as a Server for its processes' costs."""

    name = "postroom"
    services = frozenset({"imap", "imaps", "lmtp", "pop3"})

    def __init__(self, folder: Path, accounts: int, *, workers: int = 0, cores: Sequence[int] = ()) -> None:
        """``workers``: 0 for one on each core."""
        super().__init__(folder, cores)
        self.accounts = accounts
        workers = workers or len(cores) or (os.cpu_count() or 1)
        self._live = LiveServer(folder, workers=workers, cleartext=True, extra_config=_CONFIG)

    @property
    def names(self) -> Path:
        """A file with a line for each account: name and quoted password."""
        return self.folder / "names"

    def start(self) -> None:
        live = self._live
        live.write_config()
        live.run("init")
        live.run("domain", "add", DOMAIN)
        known = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
        table = self.folder / "accounts.csv"
        names = [f"u{number}@{DOMAIN}" for number in range(self.accounts)]
        table.write_text("name,password_hash\n" + "".join(f'{name},"{known}"\n' for name in names))
        live.run("account", "import", str(table))
        self.names.write_text("".join(f'{name} "{PASSWORD}"\n' for name in names))
        if self.cores:
            live.program = ("taskset", "-c", ",".join(map(str, self.cores)), *live.program)
        live.start()
        self.process = live.process
        self.ports = {name: live.port(name) for name in self.services}

    def stop(self) -> None:
        if self.process is not None:
            self._live.stop()
            self.process = None


@contextmanager
def serving(accounts: int, *, workers: int = 0, cores: Sequence[int] = ()) -> Iterator[Crowd]:
    """One that runs."""
    with tempfile.TemporaryDirectory(prefix="postroom-crowd-") as folder:
        server = Crowd(Path(folder), accounts, workers=workers, cores=cores)
        try:
            server.start()
            yield server
        finally:
            server.stop()
