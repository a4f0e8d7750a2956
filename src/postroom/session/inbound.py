"""Port 25: mail from anywhere for the domains that are ours, and for nobody else (RFC 5321 §3.6).

Invariants: nothing is relayed, whoever asks (threats S3); AUTH is not offered: people submit on the submission ports.
"""

from __future__ import annotations

from postroom.delivery.intake import HeaderCheck
from postroom.delivery.pipeline import Parcel, deliver_as_one
from postroom.session.smtp import SmtpSession
from postroom.wire.smtp.commands import Mail, Profile
from postroom.wire.smtp.extensions import Offers
from postroom.wire.smtp.replies import Reply


class InboundSession(SmtpSession):
    """A mail server, or whoever behaves like one."""

    profile = Profile.SMTP

    def offers(self) -> Offers:
        """STARTTLS until it was used."""
        starttls = self.service.starttls and self.transport.tls is None
        return Offers(self.service.message_size, starttls)

    def check_sender(self, mail: Mail) -> None:
        """Anyone."""

    def header_check(self, mail: Mail) -> HeaderCheck | None:  # noqa: ARG002 - of no message
        """Nothing is asked."""
        return None

    async def settle(self, parcel: Parcel) -> None:
        """One reply for all recipients."""
        await deliver_as_one(self.service.store, parcel)
        self.announce_queued(parcel)
        self.engine.send(Reply(250, f"Accepted as {self.message_id}", "2.0.0"))
