"""What the configuration grants POP3 maildrops, and when accounts logged in last: a file for each account, its time of change
says when.

Invariants: shared by all workers through the file system; only the holder of a maildrop's lock reads or writes its file, so
that no two logins can pass at once. A restart of the server forgets nothing.

It must not know: sessions.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from postroom.config.paths import DataDir
from postroom.config.pop3 import Pop3
from postroom.config.settings import Settings
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId
from postroom.session.pop3.policy import Policy, Rules, Terms


def policy_of(settings: Pop3) -> Policy:
    """The policy that settings ask for."""
    everybody = Terms(settings.login_delay, _days(settings.expire_days))
    accounts = {
        each.name.lower(): Terms(
            everybody.login_delay if each.login_delay is None else each.login_delay,
            everybody.expire if each.expire_days is None else _days(each.expire_days),
        )
        for each in settings.accounts
    }
    return Policy(everybody, accounts)


def rules_of(settings: Settings) -> Rules:
    """The policy with the times of logins in the data directory."""
    return Rules(policy_of(settings.pop3), LoginFiles(DataDir(settings.data_dir).pop3_logins), time.time)


def _days(days: int) -> int | None:
    return None if days < 0 else days


class LoginFiles:
    """Implements ``session.pop3.policy.Logins``; ``directory`` is made when it is first needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def last(self, account: AccountId) -> float | None:
        """Seconds since 1970, None for never. Raises Unavailable."""
        try:
            return self._file(account).stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(private=str(error)) from error

    def note(self, account: AccountId, now: float) -> None:
        """Remember a login. Raises Unavailable."""
        file = self._file(account)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            file.touch(mode=0o600)
            os.utime(file, (now, now))
        except OSError as error:
            raise Unavailable(private=str(error)) from error

    def _file(self, account: AccountId) -> Path:
        return self._directory / str(int(account))
