"""Copying between two servers: dials both, runs the copier, then the proof on fresh sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from postroom.collect.imap_connection import ImapConnection
from postroom.collect.pop3 import Pop3Mailbox
from postroom.collect.remote import Login, RemoteRefused, Security
from postroom.copying.account import ImapAccount
from postroom.copying.copier import Copier, FolderReport, Wishes
from postroom.copying.ledger import Ledger
from postroom.copying.proof import FolderProof, prove
from postroom.copying.unique_ids import UniqueIdReport, by_listing, by_rule
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
    unique_ids: UniqueIdReport | None
    error: str


@dataclass(slots=True, frozen=True)
class UniqueIdSource:
    """Where unique ids are known from: a rule, or the source's POP3."""

    rule: str = ""
    host: str = ""
    port: int = 0
    security: Security = Security.IMPLICIT


async def copy_account(
    outcome: Outcome,
    ledger: Ledger,
    wishes: Wishes,
    trust: Path | None,
    told: Callable[[str, int, int | None], None],
    *,
    proof: bool,
    unique_ids: UniqueIdSource | None = None,
) -> None:
    """One account to one account. What breaks off is told in ``outcome.error``; a bug is raised."""
    try:
        source, target = await _both(outcome, trust)
        try:
            job = f"{outcome.source.name} {outcome.target.name}"
            copier = Copier(job, source, target, ledger, wishes, told)
            outcome.folders = await copier.copy()
            if unique_ids is not None:
                outcome.unique_ids = await _unique_ids(outcome.source, copier, unique_ids, trust)
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


async def _unique_ids(
    side: Side, copier: Copier, known: UniqueIdSource, trust: Path | None
) -> UniqueIdReport:
    """The source's POP3 is asked with the login that IMAP takes. Raises as dialling does."""
    inbox = await copier.inbox()
    if known.rule:
        return by_rule(known.rule, inbox.uid_validity, inbox.copied)
    context = client_context(trust)
    implicit = context if known.security is Security.IMPLICIT else None
    connection = await dial(known.host, known.port, tls=implicit, patience=_PATIENCE)
    try:
        pop = await Pop3Mailbox.open(connection, Login(side.user, side.password), known.security, context)
        listed = await pop.listing()
    except RemoteRefused as error:
        raise RemoteRefused(private=f"POP3 of {known.host}: {error.private or error.public}") from error
    await pop.abandon()
    return by_listing(listed, inbox.messages, inbox.copied)


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
