"""A real postroom in processes of its own, on free loopback ports, in a temporary directory.

Only processes started here are ever signalled: the server is the leader of a session (setsid), and a kill goes to that
process group alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DOMAIN: Final = "example.test"
PASSWORD: Final = "correct horse battery"
OFFSETS: Final = {
    "smtp": 25,
    "submission": 587,
    "submissions": 465,
    "lmtp": 24,
    "pop3": 110,
    "pop3s": 995,
    "imap": 143,
    "imaps": 993,
    "metrics": 91,
}


_STEP: Final = 18
"""The offsets differ modulo this, so that servers whose base ports are multiples of it have no port in common."""
_claims: Final[deque[socket.socket]] = deque(maxlen=64)


def free_base_port() -> int:
    """A base port whose standard offsets are all free now, and which no other test of this machine is given while this one
    runs: a server that is down between a kill and its next start finds its ports again."""
    chooser = random.SystemRandom()
    for _ in range(500):
        base = chooser.randrange(10_008, 31_000, _STEP)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0postroom-tests-{base}")
        except OSError:
            claim.close()
            continue
        if all(_is_free(base + offset) for offset in OFFSETS.values()):
            if len(_claims) == _claims.maxlen:
                _claims.popleft().close()
            _claims.append(claim)
            return base
        claim.close()
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class LiveServer:
    """One server: ``start``, ``stop`` (SIGTERM), ``kill`` (SIGKILL of the whole process tree)."""

    root: Path
    workers: int = 2
    extra_config: str = ""
    cleartext: bool = False
    program: Sequence[str] = (sys.executable, "-m", "postroom")
    environment: Mapping[str, str] = field(default_factory=dict)
    base_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.base_port = self.base_port or free_base_port()
        self.data = self.root / "data"
        self.config = self.root / "postroom.toml"
        self.log = self.root / "server.log"
        self.root.mkdir(parents=True, exist_ok=True)

    def port(self, name: str) -> int:
        """The port of smtp, submission, submissions, lmtp, pop3, pop3s, imap, imaps or metrics."""
        return self.base_port + OFFSETS[name]

    def write_config(self) -> None:
        """Write the configuration: everything on loopback, plain listeners open to passwords only when asked for."""
        clear = 'cleartext_auth_cidrs = ["127.0.0.0/8"]\n' if self.cleartext else ""
        listeners = []
        for protocol, name, tls in (
            ("smtp", "smtp", "starttls"),
            ("submission", "submission", "starttls"),
            ("submission", "submissions", "implicit"),
            ("lmtp", "lmtp", "none"),
            ("pop3", "pop3", "starttls"),
            ("pop3", "pop3s", "implicit"),
            ("imap", "imap", "starttls"),
            ("imap", "imaps", "implicit"),
        ):
            takes_clear = clear if tls == "starttls" and protocol in ("submission", "pop3", "imap") else ""
            listeners.append(
                f'[[listeners]]\nprotocol = "{protocol}"\naddress = "127.0.0.1"\n'
                f'port = {self.port(name)}\ntls = "{tls}"\n{takes_clear}'
            )
        listeners.append('[[listeners]]\nprotocol = "lmtp"\nsocket = "run/lmtp.sock"\ntls = "none"\n')
        self.config.write_text(
            f'data_dir = "{self.data}"\nhostname = "mail.{DOMAIN}"\nbase_port = {self.base_port}\n'
            f"workers = {self.workers}\n" + self.extra_config + "\n" + "\n".join(listeners)
        )

    def run(
        self, *arguments: str, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one postroom command on this server's configuration."""
        done = subprocess.run(
            [*self.program, arguments[0], "--config", str(self.config), *arguments[1:]],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=300,
            env=self._environment(),
        )
        if check and done.returncode:
            raise AssertionError(
                f"postroom {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def status(self) -> dict[str, Any]:
        """What ``postroom status --json`` says."""
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def start(self, patience: float = 60.0) -> None:
        """Start serving and wait until it says that it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment(),
            )
        end = time.monotonic() + patience
        state = self.data / "run" / "state.json"
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"server ended with {self.process.returncode}:\n{self.log_text()[-4000:]}"
                )
            try:
                if json.loads(state.read_text())["pid"] == self.process.pid:
                    return
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(0.01)
        self.kill()
        raise AssertionError(f"server not ready:\n{self.log_text()[-4000:]}")

    def stop(self, patience: float = 30.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(patience)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL every process of the tree, at once."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self._wait_until_gone()
        self.process = None

    def log_text(self) -> str:
        """Everything the server has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _wait_until_gone(self) -> None:
        # The children were killed with the parent; their locks go when the kernel has finished with them.
        assert self.process is not None
        for _ in range(2000):
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.005)

    def _environment(self) -> dict[str, str]:
        source = str(Path(__file__).resolve().parents[2] / "src")
        return {**os.environ, "PYTHONPATH": source, "NO_COLOR": "1", **self.environment}
