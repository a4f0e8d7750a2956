"""``postroom status``: whether it runs, and what to type into a mail program."""

from __future__ import annotations

import ipaddress
import json as json_codec
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from postroom.cli.exits import Exit
from postroom.cli.init import first_account
from postroom.cli.output import Json, print_json, print_table, say
from postroom.cli.target import current
from postroom.config.paths import DataDir
from postroom.config.settings import Settings

_NAMES: Final = {
    "smtp": "SMTP",
    "submission": "Submission",
    "lmtp": "LMTP",
    "pop2": "POP2",
    "pop3": "POP3",
    "kpop": "KPOP",
    "imap": "IMAP",
}
_SECURITY: Final = {"none": "none", "starttls": "STARTTLS", "implicit": "TLS"}
_WITH_LOGIN: Final = frozenset({"submission", "pop2", "pop3", "kpop", "imap"})


@dataclass(slots=True, frozen=True)
class Connection:
    """One way to connect, as a mail program asks for it."""

    protocol: str
    host: str | None
    port: int | None
    socket: str | None
    security: str
    user: str | None
    password: str | None


@dataclass(slots=True, frozen=True)
class Status:
    """What is known of one postroom."""

    running: bool
    pid: int | None
    started: int | None
    hostname: str
    data_dir: str
    certificate: str
    metrics: str | None
    listeners: list[Connection]


def status(*, json: Json = False) -> int:
    """Tell whether postroom runs, and what to type into a mail program.

    Parameters
    ----------
    json
        Print JSON instead of a table.
    """
    settings = current().settings()
    found = read_status(settings)
    if json:
        print_json(asdict(found))
    else:
        say(f"running, process {found.pid}" if found.running else "not running")
        show(found)
    return Exit.OK if found.running else Exit.FOUND


def read_status(settings: Settings) -> Status:
    """What the running server says of itself, or else what is configured. Raises OSError."""
    data = DataDir(settings.data_dir)
    state = _running_state(data.state)
    listeners = state["listeners"] if state else _configured(settings)
    first = first_account(data)
    user = first.name if first else None
    password = (first.password or None) if first else None
    hostname = str(state["hostname"]) if state else settings.hostname
    return Status(
        running=state is not None,
        pid=state["pid"] if state else None,
        started=state["started"] if state else None,
        hostname=hostname,
        data_dir=str(data.root),
        certificate=str(settings.tls.certificate),
        metrics=state.get("metrics") if state else None,
        listeners=[_connection(each, hostname, user, password) for each in listeners],
    )


def _configured(settings: Settings) -> list[dict[str, Any]]:
    return [
        {
            "protocol": each.protocol.value,
            "address": each.address,
            "port": each.port,
            "socket": str(each.socket) if each.socket else None,
            "tls": each.tls.value,
        }
        for each in settings.listeners
    ]


def _connection(
    listener: dict[str, Any], hostname: str, user: str | None, password: str | None
) -> Connection:
    protocol = listener["protocol"]
    login = protocol in _WITH_LOGIN
    socket = listener.get("socket")
    return Connection(
        protocol=protocol,
        host=None if socket else _host(str(listener["address"]), hostname),
        port=None if socket else listener["port"],
        socket=socket,
        security=_SECURITY.get(listener["tls"], listener["tls"]),
        user=user if login else None,
        password=password if login else None,
    )


def _host(address: str, hostname: str) -> str:
    """What a client connects to: the server's name where it listens on all addresses."""
    return hostname if ipaddress.ip_address(address).is_unspecified else address


def _running_state(path: Path) -> dict[str, Any] | None:
    """What the running server wrote, None when it does not run (any more)."""
    try:
        state = json_codec.loads(path.read_text(encoding="utf-8"))
        return state if _is_postroom(int(state["pid"])) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _is_postroom(pid: int) -> bool:
    """Whether a process lives and is a postroom: its number may have been given to another after a crash."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"postroom" in command or not command
    except OSError:
        return True


def show(found: Status) -> None:
    """The table to type into a mail program."""
    print_table(
        ("protocol", "host", "port", "security", "user", "password"),
        [
            (
                _NAMES.get(each.protocol, each.protocol),
                each.host,
                each.port,
                each.security,
                each.user or "",
                (each.password or "as set") if each.user else "",
            )
            for each in found.listeners
            if not each.socket
        ],
    )
    for each in found.listeners:
        if each.socket:
            say(f"{_NAMES.get(each.protocol, each.protocol)} is also at the unix socket {each.socket}")
    if found.metrics:
        say(f"Metrics are at {found.metrics}/metrics, health at {found.metrics}/healthz")
