"""LMTP: mail from a mail server of the same house, answered for each recipient (RFC 2033).

Invariants: local recipients only; a reply for each accepted recipient, in order, tells its own outcome, so nothing ever has to
be bounced.
"""

from __future__ import annotations

from postroom.delivery.intake import HeaderCheck
from postroom.delivery.pipeline import Parcel, deliver
from postroom.session.smtp import SmtpSession
from postroom.session.smtp_replies import reply_for
from postroom.wire.smtp.commands import Mail, Profile
from postroom.wire.smtp.extensions import Offers
from postroom.wire.smtp.replies import Reply


class LmtpSession(SmtpSession):
    """A mail server that hands over."""

    profile = Profile.LMTP

    def offers(self) -> Offers:
        """STARTTLS on TCP listeners that have it."""
        local = not self.transport.peer.address
        starttls = self.service.starttls and self.transport.tls is None and not local
        return Offers(self.service.message_size, starttls)

    def check_sender(self, mail: Mail) -> None:
        """Anyone."""

    def header_check(self, mail: Mail) -> HeaderCheck | None:  # noqa: ARG002 - of no message
        """Nothing is asked."""
        return None

    async def settle(self, parcel: Parcel) -> None:
        """A reply for each recipient."""
        outcomes = await deliver(self.service.store, parcel)
        self.announce_queued(parcel)
        for outcome in outcomes:
            if outcome is None:
                self.engine.send(Reply(250, f"Delivered as {self.message_id}", "2.1.5"))
            else:
                self.engine.send(reply_for(outcome))
