"""Bans in the directory, as sessions and listeners ask for them (``session.bans.Bans``)."""

from __future__ import annotations

import time
from ipaddress import ip_network
from typing import Final

import structlog

from postroom.app.executors import BoundedExecutor
from postroom.config.passwords import Auth
from postroom.config.settings import ListenerProtocol
from postroom.model.errors import PostroomError
from postroom.net.listeners import is_in
from postroom.store.directory import Directory

_log = structlog.get_logger("postroom.bans")

REFUSALS: Final = {
    ListenerProtocol.SUBMISSION: b"554 5.7.1 Connections from your network are refused\r\n",
    ListenerProtocol.POP3: b"-ERR [SYS/PERM] Connections from your network are refused\r\n",
    ListenerProtocol.POP2: b"- Connections from your network are refused\r\n",
    ListenerProtocol.KPOP: b"",
    ListenerProtocol.IMAP: b"* BYE [NOPERM] Connections from your network are refused\r\n",
}
"""What a banned peer is told, by the protocols where people log in; other servers' mail is taken from everywhere."""


class DirectoryBans:
    """One per worker; what one of them bans is banned for all."""

    def __init__(self, directory: Directory, executor: BoundedExecutor, auth: Auth) -> None:
        self._directory = directory
        self._executor = executor
        self._seconds = auth.ban_time
        self._after = auth.ban_failures
        self._exempt = tuple(map(ip_network, auth.ban_exempt))

    def banned(self, address: str) -> bool:
        """Whether an address is; nobody while the directory cannot be read: then nobody can log in either."""
        try:
            return self._directory.ban_of(address, time.time()) is not None
        except PostroomError:
            return False

    async def ban(self, address: str) -> None:
        """Ban an address for the time that the settings give."""
        if is_in(address, self._exempt):
            return
        reason = f"{self._after} failed logins in a day"
        try:
            ban = await self._executor.run(self._directory.add_ban, address, self._seconds, reason)
        except PostroomError as error:
            _log.warning("address cannot be banned", peer=address, reason=error.private or error.public)
            return
        _log.warning("banned", network=ban.network, until=ban.until, reason=reason)
