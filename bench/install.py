"""Finds the other servers' programs, or installs them with apt.

Invariants: no daemon is started by an installation (``policy-rc.d`` says 101 while it runs). Nothing is taken away: Debian lets
Dovecot or Cyrus own the name "imap-server", so Cyrus's two programs are unpacked beside what is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.server import Unavailable

PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
CYRUS: Final = Path("/usr/lib/cyrus/bin")
_UNPACKED: Final = Path("/var/cache/postroom-bench")
_POLICY: Final = Path("/usr/sbin/policy-rc.d")


def find(program: str, packages: Sequence[str]) -> Path:
    """The path of a program, after installing these packages if need be. Raises Unavailable."""
    found = shutil.which(program, path=PATH)
    if found is None:
        install(packages)
        found = shutil.which(program, path=PATH)
    if found is None:
        raise Unavailable(f"{program} is not installed")
    return Path(found)


def dovecot() -> Path:
    """Dovecot with its IMAP, POP3 and LMTP parts. Raises Unavailable."""
    program = find("dovecot", ("dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"))
    missing = [name for name in ("imap", "pop3", "lmtp") if not Path(f"/usr/lib/dovecot/{name}").exists()]
    if missing:
        install([f"dovecot-{name}d" for name in missing])
    return program


def cyrus_programs() -> dict[str, Path]:
    """master, imapd, pop3d, lmtpd and saslpasswd2 by name. Raises Unavailable."""
    if not (CYRUS / "master").exists():
        install(["cyrus-common"])
    programs = {"saslpasswd2": find("saslpasswd2", ["sasl2-bin"])}
    for name in ("master", "lmtpd", "imapd", "pop3d"):
        path = CYRUS / name
        if not path.exists():
            path = _UNPACKED / "usr/lib/cyrus/bin" / name
        if not path.exists():
            unpack([f"cyrus-{name}"])
        programs[name] = path
    return programs


def install(packages: Sequence[str]) -> None:
    """apt-get install, without starting anything. Raises Unavailable."""
    made = not _POLICY.exists()
    _need_apt()
    try:
        if made:
            _POLICY.write_text("#!/bin/sh\nexit 101\n")
            _POLICY.chmod(0o755)
        # --no-remove: a peer is no reason to take another mail server from somebody's machine.
        _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "--no-remove", *packages])
    finally:
        if made:
            _POLICY.unlink(missing_ok=True)


def unpack(packages: Sequence[str]) -> None:
    """Download packages and unpack them beside the installed ones. Raises Unavailable."""
    _need_apt()
    _UNPACKED.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _run(["apt-get", "download", "-q", *packages], folder)
        for archive in Path(folder).glob("*.deb"):
            _run(["dpkg", "-x", str(archive), str(_UNPACKED)])
    _UNPACKED.chmod(0o755)


def _need_apt() -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable("not installed, and installing needs apt and root")


def _run(command: Sequence[str], folder: str | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=300,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-200:]}")
