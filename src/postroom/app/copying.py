"""Copying between two servers: dials both, runs the copier, then the proof on fresh sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from postroom.collect.imap_connection import ImapConnection
from postroom.collect.remote import Login, RemoteRefused, Security
from postroom.copying.account import ImapAccount
from postroom.copying.copier import Copier, FolderReport, Wishes
from postroom.copying.ledger import Ledger
from postroom.copying.proof import FolderProof, prove
from postroom.model.errors import PostroomError, Unavailable
from postroom.net.dial import dial
from postroom.net.tls import client_context
from postroom.wire.errors import ProtocolError

_PATIENCE = 300.0
"""Seconds a server may stay silent: a large mailbox is listed in one answer."""


class Side(Protocol):
    """An account on a server."""

    @property
    def host(self) -> str:
        """Name or address."""

    @property
    def port(self) -> int:
        """TCP port."""

    @property
    def security(self) -> Security:
        """How TLS begins."""

    @property
    def user(self) -> str:
        """Login name."""

    @property
    def password(self) -> str:
        """In plain."""

    @property
    def name(self) -> str:
        """For people, and for the ledger."""


class Outcome(Protocol):
    """What is filled in."""

    @property
    def source(self) -> Side:
        """Where from."""

    @property
    def target(self) -> Side:
        """Where to."""

    folders: list[FolderReport]
    proof: list[FolderProof] | None
    error: str


async def copy_account(
    outcome: Outcome,
    ledger: Ledger,
    wishes: Wishes,
    trust: Path | None,
    told: Callable[[str, int, int | None], None],
    *,
    proof: bool,
) -> None:
    """One account to one account. What breaks off is told in ``outcome.error``; a bug is raised."""
    try:
        source, target = await _both(outcome, trust)
        try:
            job = f"{outcome.source.name} {outcome.target.name}"
            copier = Copier(job, source, target, ledger, wishes, told)
            outcome.folders = await copier.copy()
            if proof:
                pairs = [(left, right) for left, right, exists in await copier.folders() if exists]
                outcome.proof = await prove(
                    source, target, pairs, lambda folder, done: told(f"comparing {folder}", done, None)
                )
        except BaseException:
            await asyncio.gather(source.abandon(), target.abandon())
            raise
        await asyncio.gather(source.close(), target.close())
    except (Unavailable, RemoteRefused, ProtocolError) as error:
        outcome.error = (error.private or error.public) if isinstance(error, PostroomError) else str(error)


async def _both(outcome: Outcome, trust: Path | None) -> tuple[ImapAccount, ImapAccount]:
    source = await _open(outcome.source, trust)
    try:
        return source, await _open(outcome.target, trust)
    except BaseException:
        await source.abandon()
        raise


async def _open(side: Side, trust: Path | None) -> ImapAccount:
    context = client_context(trust)
    implicit = context if side.security is Security.IMPLICIT else None
    connection = await dial(side.host, side.port, tls=implicit, patience=_PATIENCE)
    login = Login(side.user, side.password)
    try:
        return ImapAccount(await ImapConnection.open(connection, login, side.security, context))
    except RemoteRefused as error:
        raise RemoteRefused(private=f"{side.name}: {error.private or error.public}") from error
