"""``XTND XMIT``: a message to send, with its recipients in its own header.

Invariants: who has logged in sends as on the submission port, under the same rules for From and Sender, recipients and size,
and only over TLS or where passwords are taken in clear; +OK follows the durable commit. Blind copies reach their recipients and
nobody learns of them. Nothing is kept of what was refused.

It must not know: which listeners have it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from postroom.delivery.authorship import check_submission
from postroom.delivery.intake import HEADER_LIMIT, Intake, header_end
from postroom.delivery.pipeline import Parcel, deliver_as_one
from postroom.delivery.recipients import Directory, Recipient, RecipientPolicy, accept_recipient
from postroom.delivery.trace import Trace, received_field
from postroom.mime.address import parse_address_list
from postroom.mime.header import header_fields, pick
from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.errors import NoSuchRecipient, NotAllowed, PostroomError, TooLarge
from postroom.store.api import MailStore
from postroom.wire.pop3.replies import BeginUpload, Err, Ok
from postroom.wire.pop3.server import UploadChunk, UploadEnd
from postroom.wire.pop3.xtnd import Xmit

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session

_TO: Final = (b"to", b"cc", b"bcc")
_RESENT: Final = (b"resent-to", b"resent-cc", b"resent-bcc")
_BLIND: Final = (b"bcc", b"resent-bcc")


class RecipientLimit(Protocol):
    """How many recipients a message may have."""

    @property
    def recipients_authenticated(self) -> int:
        """Of one message of somebody who has logged in."""


class Submission(Protocol):
    """What sending needs; ``session.smtp.SmtpService`` has it."""

    @property
    def store(self) -> MailStore:
        """Takes the message."""

    @property
    def directory(self) -> Directory:
        """Who is here."""

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since 1970."""

    @property
    def hostname(self) -> str:
        """The server's name."""

    @property
    def message_size(self) -> int:
        """Octets that a message may have."""

    @property
    def hop_limit(self) -> int:
        """Received fields that a message may have."""

    @property
    def has_route(self) -> bool:
        """Whether mail can leave."""

    @property
    def retry_after(self) -> int:
        """Seconds until a failed local delivery is tried again."""

    @property
    def limits(self) -> RecipientLimit:
        """Limits of messages."""

    @property
    def queue_changed(self) -> Callable[[], None] | None:
        """Called after something was queued."""

    @property
    def host_of(self) -> Callable[[str], Account | None] | None:
        """As in ``delivery.recipients.RecipientPolicy``."""


@dataclass(slots=True)
class _Sending:
    """One message on its way."""

    service: Submission
    account: Account
    peer: str
    id: str
    size: int = 0
    header: bytearray | None = field(default_factory=bytearray)
    intake: Intake | None = None
    recipients: list[Recipient] = field(default_factory=list)

    async def write(self, octets: bytes) -> None:
        """Take octets. Raises what the message is to be refused with."""
        self.size += len(octets)
        if self.size > self.service.message_size:
            raise TooLarge("Message too large")
        if self.header is None:
            assert self.intake is not None
            await self.intake.write(octets)
            return
        self.header += octets
        if header_end(self.header) >= 0 or len(self.header) > HEADER_LIMIT:
            await self._header_done()

    async def _header_done(self) -> None:
        assert self.header is not None
        held, self.header = bytes(self.header), None
        end = header_end(held)
        if end < 0:
            end = len(held)
            if end > HEADER_LIMIT:
                raise TooLarge("Message too large")
        header = held[:end]
        self.recipients = self._recipients(header)
        service = self.service
        sender = _address(self.account.name.encode())
        now = int(service.clock())
        trace = Trace("", self.peer, service.hostname, "POP3", self.id, now)

        def check(found: bytes, complete: bool) -> bytes:
            return check_submission(
                found,
                complete,
                owns=lambda address: service.directory.owns(self.account.id, address),
                sender=sender,
                now=now,
                message_id=f"{secrets.token_hex(16)}@{service.hostname}",
            )

        self.intake = Intake(
            service.store.spool(None), received_field(trace), hop_limit=service.hop_limit, check=check
        )
        await self.intake.write(_without_blind(header) + held[end:])

    def _recipients(self, header: bytes) -> list[Recipient]:
        found = pick(header, (*_TO, *_RESENT))
        names = _RESENT if any(name in found for name in _RESENT) else _TO
        service, limits = self.service, self.service.limits
        policy = RecipientPolicy(may_relay=True, has_route=service.has_route, host_of=service.host_of)
        addresses: dict[str, Address] = {}
        for name in names:
            for value in found.get(name, ()):
                for entry in parse_address_list(value):
                    if entry.local is not None and entry.domain is not None:
                        address = _address(entry.local + b"@" + entry.domain)
                        if address is None:
                            raise NoSuchRecipient
                        addresses.setdefault(str(address).lower(), address)
        if not addresses:
            raise NotAllowed("No valid recipients in the header")
        if len(addresses) > limits.recipients_authenticated:
            raise NotAllowed("No valid recipients in the header", private="too many recipients")
        return [
            accept_recipient(address, service.directory, service.store.usage, policy, 0)
            for address in addresses.values()
        ]

    async def finish(self) -> None:
        """Hand it over; durable on return. Raises what it is refused with."""
        if self.header is not None:
            await self._header_done()
        assert self.intake is not None
        content = await self.intake.finish()
        service = self.service
        sender = _address(self.account.name.encode())
        parcel = Parcel(
            sender,
            self.recipients,
            content,
            int(service.clock()),
            "8BITMIME",
            content.facts.has_8bit_header,
            self.account.id,
            service.retry_after,
        )
        await deliver_as_one(service.store, parcel)
        if service.queue_changed is not None and any(each.remote for each in self.recipients):
            service.queue_changed()

    def abort(self) -> None:
        """Forget it."""
        if self.intake is not None:
            self.intake.abort()


def _address(text: bytes) -> Address | None:
    local, at, domain = text.rpartition(b"@")
    try:
        return Address(local.decode(), domain.decode().lower()) if at else None
    except (UnicodeDecodeError, ValueError):
        return None


def _without_blind(header: bytes) -> bytes:
    """The header without Bcc and Resent-Bcc, every other octet as it came."""
    return header_fields(header, _BLIND, negate=True)


async def xmit(session: Pop3Session, _command: Xmit) -> None:
    """XTND XMIT."""
    account, service = session.opened()[0], session.submission
    if service is None or not session.authenticator.offered(session.transport):
        session.engine.send(Err("Not offered here"))
        return
    session.engine.send(BeginUpload("Send the message, end it with a dot"))
    sending = _Sending(
        service, account, session.transport.peer.address, session.transport.session_id.replace(".", "-")
    )
    refused: PostroomError | None = None
    try:
        while True:
            event = await session.transport.next_event()
            if isinstance(event, UploadEnd):
                break
            assert isinstance(event, UploadChunk)
            try:
                if refused is None:
                    await sending.write(event.octets)
            except PostroomError as error:
                # The rest is read and dropped, as far as a message may reach; then the answer is told.
                refused = error
                sending.abort()
            else:
                sending.size += len(event.octets) if refused is not None else 0
            if sending.size > 2 * service.message_size:
                raise TooLarge("Message too large")
        if refused is not None:
            raise refused
        await sending.finish()
    except BaseException:
        sending.abort()
        raise
    session.engine.send(Ok("Message accepted"))


HANDLERS: Final[Handlers] = {Xmit: xmit}
