"""Working as the owner of a data directory when started by root.

An administrator runs `postroom account add` as root on a server that runs as a user of its own. What the command makes must
belong to that user, or the server could not read it.

Invariants: privileges only ever go down; for any other user nothing happens.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from postroom.cli.exits import Exit, Failed


def become_owner(directory: Path) -> None:
    """Take on the user and group that a directory belongs to, for the rest of this process. Raises OSError."""
    if os.geteuid() != 0:
        return
    owner = directory.stat()
    if owner.st_uid != 0:
        _become(owner.st_uid, owner.st_gid)


def hand_over(directory: Path, user: str) -> None:
    """Give a new directory to a user and become that user; for anyone but root, and without a user, nothing happens.

    Raises Failed for an unknown user, OSError.
    """
    if os.geteuid() != 0 or not user:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Failed(f"there is no user {user}", Exit.CONFIG, "make it, or change the setting user") from None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    _become(entry.pw_uid, entry.pw_gid)


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
