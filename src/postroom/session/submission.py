"""Submission: mail of our own people, for anyone (RFC 6409).

Invariants: nothing but AUTH works before AUTH, and AUTH only where passwords are safe (RFC 8314 §3.3); reverse-path, From and
Sender are addresses of whoever has logged in (threats S6).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, ClassVar

from postroom.delivery.authorship import check_submission
from postroom.delivery.intake import HeaderCheck
from postroom.delivery.recipients import RecipientPolicy
from postroom.model.address import Address
from postroom.model.errors import NotAllowed, PostroomError
from postroom.session.inbound import InboundSession
from postroom.session.smtp_replies import MalformedResponse, reply_for
from postroom.wire.smtp.commands import Auth, Mail, Profile
from postroom.wire.smtp.events import AuthResponse
from postroom.wire.smtp.extensions import Offers
from postroom.wire.smtp.replies import Reply


class SubmissionSession(InboundSession):
    """A mail program."""

    profile = Profile.SUBMISSION

    def offers(self) -> Offers:
        """AUTH as soon as it is safe, STARTTLS until it was used."""
        starttls = self.service.starttls and self.transport.tls is None
        authenticator = self.service.authenticator
        mechanisms = authenticator.mechanisms(self.transport) if authenticator is not None else ()
        return Offers(self.service.message_size, starttls, mechanisms)

    def policy(self) -> RecipientPolicy:
        """Anyone."""
        return RecipientPolicy(
            may_relay=self.account is not None,
            has_route=self.service.has_route,
            host_of=self.service.host_of,
        )

    def check_sender(self, mail: Mail) -> None:
        """The null reverse-path is for receipts (RFC 8098 §2.1); anything else must be an own address."""
        if mail.sender is not None and not self._owns(mail.sender):
            raise NotAllowed("Sender must be an address of yours")

    def header_check(self, mail: Mail) -> HeaderCheck | None:
        """From and Sender likewise; what is missing is added."""

        def check(header: bytes, complete: bool) -> bytes:
            return check_submission(
                header,
                complete,
                owns=self._owns,
                sender=mail.sender,
                now=int(self.service.clock()),
                message_id=f"{secrets.token_hex(16)}@{self.service.hostname}",
            )

        return check

    def _owns(self, address: Address) -> bool:
        return self.account is not None and self.service.directory.owns(self.account.id, address)

    async def _auth(self, command: Auth) -> None:
        authenticator = self.service.authenticator
        assert authenticator is not None
        try:
            self.account = await authenticator.exchange(
                command.mechanism, command.initial, self.transport, self._challenge, "smtp"
            )
        except PostroomError as error:
            self.engine.send(reply_for(error))
            return
        self.engine.send(Reply(235, "Authenticated", "2.7.0"))

    async def _challenge(self, octets: bytes) -> bytes | None:
        self.engine.challenge(octets)
        event = await self.transport.next_event()
        assert isinstance(event, AuthResponse)
        if event.malformed:
            raise MalformedResponse(private=event.malformed)
        return event.octets

    handlers: ClassVar[dict[type[Any], Callable[..., Any]]] = {**InboundSession.handlers, Auth: _auth}
