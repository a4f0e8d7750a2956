"""What the configuration grants POP3 maildrops, and when accounts logged in last: a file for each account, its time of change
says when.

Invariants: shared by all workers through the file system; only the holder of a maildrop's lock reads or writes its file, so
that no two logins can pass at once. A restart of the server forgets nothing.

It must not know: sessions.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import msgspec
import structlog

from postroom.config.paths import DataDir
from postroom.config.pop3 import Pop3
from postroom.config.settings import Listener, Settings
from postroom.model.account import Account
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId, UidValidity
from postroom.net.listeners import is_in
from postroom.session.pop3.apop import Timestamps, no_timestamps
from postroom.session.pop3.policy import Policy, Rules, Terms
from postroom.session.pop3.surrogates import Measure
from postroom.session.transport import Transport
from postroom.store.directory import Directory
from postroom.wire.pop3.apop import fresh_timestamp
from postroom.wire.pop3.spec import Profile

_log = structlog.get_logger("postroom.pop3")

_REMEMBERED: Final = 4_096
_SHORT: Final = 256
_FILES: Final = 64
"""Of unique ids that are kept in memory."""
_MEASURE_VERSION: Final = 1
"""Rises when mime.downgrade gives other sizes."""


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


def timestamps_of(listener: Listener) -> Timestamps:
    """Timestamps for the connections on which a listener has APOP: over TLS, and from the networks it names."""
    if not listener.apop:
        return no_timestamps
    networks = tuple(map(ip_network, listener.apop_cidrs))

    def timestamp(transport: Transport) -> str:
        usable = transport.tls is not None or is_in(transport.peer.address, networks)
        return fresh_timestamp() if usable else ""

    return timestamp


def host_of(settings: Settings, directory: Directory) -> Callable[[str], Account | None] | None:
    """Which account stands for a domain, if mail is read by recipient on any listener (SDPS)."""
    return directory.host_account if any(each.pop3_sdps for each in settings.listeners) else None


def profiles_of(listener: Listener) -> frozenset[Profile]:
    """Commands beyond the standards of today that a listener has."""
    chosen = {
        Profile.LEGACY: listener.pop3_legacy,
        Profile.SDPS: listener.pop3_sdps,
        Profile.XMIT: listener.pop3_xmit,
        Profile.FOLDERS: listener.pop3_folders,
    }
    return frozenset(profile for profile, wanted in chosen.items() if wanted)


def rules_of(settings: Settings) -> Rules:
    """The policy with the times of logins in the data directory."""
    data = DataDir(settings.data_dir)
    return Rules(
        policy_of(settings.pop3),
        LoginFiles(data.pop3_logins),
        time.time,
        str(settings.pop3.language),
        MeasureFiles(data.pop3_sizes),
        UniqueIdFiles(data.pop3_unique_ids),
    )


class MeasureFiles:
    """Implements ``session.pop3.surrogates.Measures``: what was found out about maildrops, a file for each account.

    The short ones read last are remembered: what another worker has added meanwhile is found out again, never missed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lately: OrderedDict[AccountId, tuple[UidValidity, Measure]] = OrderedDict()

    def load(self, account: AccountId, uid_validity: UidValidity) -> Measure:
        """What was saved for this UIDVALIDITY, or an empty one."""
        validity, measure = self._lately.get(account, (None, None))
        if measure is None or validity != uid_validity:
            measure = self._read(account, uid_validity)
        self._remember(account, uid_validity, measure)
        return measure

    def _remember(self, account: AccountId, uid_validity: UidValidity, measure: Measure) -> None:
        if len(measure.sizes) > _SHORT:
            self._lately.pop(account, None)
            return
        self._lately[account] = uid_validity, measure
        self._lately.move_to_end(account)
        if len(self._lately) > _REMEMBERED:
            self._lately.popitem(last=False)

    def _read(self, account: AccountId, uid_validity: UidValidity) -> Measure:
        try:
            kept = msgspec.msgpack.decode(self._file(account).read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError):
            return Measure()
        if (kept.version, kept.uid_validity) != (_MEASURE_VERSION, uid_validity):
            return Measure()
        return Measure(kept.below, kept.sizes)

    def save(self, account: AccountId, uid_validity: UidValidity, measure: Measure) -> None:
        """Keep it; never raises."""
        self._remember(account, uid_validity, measure)
        kept = _Kept(_MEASURE_VERSION, uid_validity, measure.below, measure.sizes)
        file = self._file(account)
        fresh = file.with_suffix(".new")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            fresh.write_bytes(msgspec.msgpack.encode(kept))
            fresh.replace(file)
        except OSError as error:
            _log.warning("sizes of messages cannot be kept", reason=str(error))

    def _file(self, account: AccountId) -> Path:
        return self._directory / str(int(account))


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    version: int
    uid_validity: int
    below: int
    sizes: dict[int, int]


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


class UniqueIdFiles:
    """Implements ``session.pop3.uniqueids.UniqueIds``: a file for each account that has brought some. What is saved is durable on
    return; a file that changes is read anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: OrderedDict[AccountId, tuple[tuple[int, int], _Brought]] = OrderedDict()

    def load(self, account: AccountId, uid_validity: UidValidity) -> Mapping[int, str]:
        """By UID; empty when there are none for this UIDVALIDITY. Raises Unavailable: other ids would be wrong for ever."""
        file = self._file(account)
        try:
            found = file.stat()
            stamp = found.st_mtime_ns, found.st_ino
            known = self._read.get(account)
            if known is None or known[0] != stamp:
                known = stamp, msgspec.msgpack.decode(file.read_bytes(), type=_Brought)
                self._read[account] = known
                if len(self._read) > _FILES:
                    self._read.popitem(last=False)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise Unavailable(private=f"unique ids of account {account}: {error}") from error
        brought = known[1]
        return brought.ids if brought.uid_validity == uid_validity else {}

    def save(self, account: AccountId, uid_validity: UidValidity, ids: Mapping[int, str]) -> None:
        """Keep these, all of the account's. Raises Unavailable."""
        file = self._file(account)
        fresh = file.with_suffix(".new")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with fresh.open("wb") as stream:
                stream.write(msgspec.msgpack.encode(_Brought(1, uid_validity, dict(ids))))
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(file)
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Unavailable(private=f"unique ids cannot be kept: {error}") from error

    def _file(self, account: AccountId) -> Path:
        return self._directory / str(int(account))


class _Brought(msgspec.Struct, frozen=True, array_like=True):
    version: int
    uid_validity: int
    ids: dict[int, str]
