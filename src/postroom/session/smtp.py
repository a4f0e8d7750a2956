"""What SMTP commands mean, as far as it is the same for port 25, submission and LMTP (RFC 5321 §3).

Purpose: HELO, STARTTLS and the way of a message: envelope, intake, durable, reply. What differs (who may send, to whom, how
it is answered) is in ``inbound``, ``submission`` and ``lmtp``.

Invariants:
- No positive reply to content before the store has said that it is durable.
- A message that is not taken leaves nothing behind: its intake is aborted, whatever happens.
- Behind the trace fields put in front, the octets are stored as they came.

It must not know: sockets, TLS, how messages are stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from postroom.delivery.intake import HeaderCheck, Intake
from postroom.delivery.pipeline import Parcel
from postroom.delivery.recipients import Directory, Recipient, RecipientPolicy, accept_recipient
from postroom.delivery.trace import Trace, protocol_name, received_field, return_path_field
from postroom.model.account import Account
from postroom.model.errors import PostroomError
from postroom.session.authentication import Authenticator
from postroom.session.smtp_replies import reply_for
from postroom.session.transport import Transport
from postroom.store.api import MailStore, SpoolResult
from postroom.wire.smtp.commands import Hello, Mail, Profile, Rcpt, StartTls
from postroom.wire.smtp.events import DataBegin, DataChunk, DataEnd, DataRefused, Limits, Reset
from postroom.wire.smtp.extensions import Offers
from postroom.wire.smtp.replies import Reply
from postroom.wire.smtp.server import SmtpServer


@dataclass(slots=True, frozen=True)
class TransactionRecord:
    """For the log and the metrics: content that was taken or refused. Nothing of it is fit for a reply."""

    session_id: str
    id: str
    peer: str
    sender: str
    recipients: tuple[str, ...]
    size: int
    account: str
    outcome: str
    """ok, or the private reason."""


@dataclass(slots=True, frozen=True, kw_only=True)
class SmtpService:
    """What all sessions of a worker share. ``clock`` gives seconds since 1970; ``message_size`` and ``hop_limit`` are
    limits (threats D6, S5); ``starttls``: there is a certificate; ``has_route``: there is a smarthost; ``retry_after``: the
    queue's first wait in seconds; ``record`` must not raise."""

    hostname: str
    store: MailStore
    directory: Directory
    clock: Callable[[], float]
    authenticator: Authenticator | None = None
    message_size: int = 50_000_000
    hop_limit: int = 50
    starttls: bool = True
    has_route: bool = False
    retry_after: int = 300
    limits: Limits = field(default_factory=Limits)
    record: Callable[[TransactionRecord], None] | None = None
    queue_changed: Callable[[], None] | None = None
    """Called after something was queued, so that it leaves at once."""
    host_of: Callable[[str], Account | None] | None = None
    """The account that stands for a whole domain; None where nobody reads its mail by recipient (SDPS)."""


class SmtpSession(ABC):
    """One connection's session; see ``session.transport.Session`` for the verbs."""

    profile: Profile

    def __init__(self, service: SmtpService, transport: Transport) -> None:
        self.service = service
        self.transport = transport
        self.engine = SmtpServer(self.profile, limits=service.limits)
        self.account: Account | None = None
        self._recipients: list[Recipient] = []
        self._intake: Intake | None = None
        self._messages = 0
        self._id = ""

    # --- the driver's verbs

    async def begin(self) -> None:
        """Greet."""
        self.engine.offer(self.offers())
        protocol = "LMTP" if self.profile is Profile.LMTP else "ESMTP"
        self.engine.greet(Reply(220, f"{self.service.hostname} {protocol} postroom"))

    async def handle(self, event: Any) -> None:
        """Act on one event."""
        try:
            await self.handlers[type(event)](self, event)
        except PostroomError as error:
            self._forget_content(error.private)
            self.engine.refuse(reply_for(error))

    async def woken(self) -> None:  # noqa: B027 - complete as it stands
        """Nothing wakes an SMTP session."""

    async def shutting_down(self) -> None:
        """Take leave; a message whose content is not complete was not taken."""
        self.engine.dismiss(Reply(421, f"{self.service.hostname} shutting down", "4.3.2"))

    async def failed(self, error_id: str) -> None:
        """Answer a bug."""
        self._forget_content(f"internal error {error_id}")
        self.engine.refuse(Reply(451, f"Internal error {error_id}", "4.3.0"))

    async def end(self) -> None:
        """The connection is gone."""
        self._forget_content("connection lost")

    # --- what differs

    @abstractmethod
    def offers(self) -> Offers:
        """What EHLO announces on this connection now."""

    @abstractmethod
    def check_sender(self, mail: Mail) -> None:
        """Raise why this sender is not taken."""

    def policy(self) -> RecipientPolicy:
        """To whom this client may send: an alias may lead elsewhere, the client itself may not."""
        return RecipientPolicy(
            may_relay=False, has_route=self.service.has_route, host_of=self.service.host_of
        )

    @abstractmethod
    def header_check(self, mail: Mail) -> HeaderCheck | None:
        """What is asked of the message's header."""

    @abstractmethod
    async def settle(self, parcel: Parcel) -> None:
        """Store the message and answer DataEnd."""

    def announce_queued(self, parcel: Parcel) -> None:
        """Tell the queue when the message went into it."""
        if self.service.queue_changed is not None and any(
            recipient.remote for recipient in parcel.recipients
        ):
            self.service.queue_changed()

    # --- commands

    async def _hello(self, _hello: Hello) -> None:
        self._forget_transaction()
        self.engine.send(Reply(250, self.service.hostname))

    async def _start_tls(self, _command: StartTls) -> None:
        self.engine.send(Reply(220, "Ready to start TLS", "2.0.0"))
        if self.engine.closing:
            return
        await self.transport.start_tls()
        # RFC 3207 §4.2: nothing learned in clear is kept.
        self._forget_transaction()
        self.account = None
        self.engine.tls_started(self.offers())

    async def _mail(self, mail: Mail) -> None:
        self.check_sender(mail)
        self._forget_transaction()
        self.engine.send(Reply(250, "Sender ok", "2.1.0"))

    async def _rcpt(self, rcpt: Rcpt) -> None:
        mail = self.engine.mail
        assert mail is not None
        recipient = accept_recipient(
            rcpt.recipient,
            self.service.directory,
            self.service.store.usage,
            self.policy(),
            mail.size or 0,
        )
        self._recipients.append(recipient)
        self.engine.send(Reply(250, "Recipient ok", "2.1.5"))

    async def _data_begin(self, _event: DataBegin) -> None:
        mail = self.engine.mail
        assert mail is not None
        self._messages += 1
        self._id = f"{self.transport.session_id}-{self._messages}".replace(".", "-")
        self._intake = Intake(
            self.service.store.spool(mail.size),
            return_path_field(mail.sender) + received_field(self._trace(mail)),
            hop_limit=self.service.hop_limit,
            check=self.header_check(mail),
        )
        self.engine.accept_data()

    async def _chunk(self, event: DataChunk) -> None:
        if self._intake is not None:
            await self._intake.write(event.octets)

    async def _data_refused(self, event: DataRefused) -> None:
        self._forget_content(event.reason)

    async def _data_end(self, _event: DataEnd) -> None:
        intake, mail = self._intake, self.engine.mail
        assert intake is not None
        assert mail is not None
        content = await intake.finish()
        parcel = Parcel(
            mail.sender,
            self._recipients,
            content,
            int(self.service.clock()),
            mail.body,
            mail.smtputf8,
            self.account.id if self.account is not None else None,
            self.service.retry_after,
        )
        await self.settle(parcel)
        self._intake = None
        self._record(parcel.sender_text, parcel.recipients, content, "ok")
        self._forget_transaction()

    async def _reset(self, _event: Reset) -> None:
        self._forget_transaction()

    handlers: ClassVar[dict[type[Any], Callable[..., Any]]] = {
        Hello: _hello,
        StartTls: _start_tls,
        Mail: _mail,
        Rcpt: _rcpt,
        DataBegin: _data_begin,
        DataChunk: _chunk,
        DataRefused: _data_refused,
        DataEnd: _data_end,
        Reset: _reset,
    }

    # --- inner

    @property
    def message_id(self) -> str:
        """The name of the message that is coming in, in our log and its Received field."""
        return self._id

    def _trace(self, mail: Mail) -> Trace:
        hello, tls = self.engine.hello, self.transport.tls
        assert hello is not None
        return Trace(
            hello.domain,
            self.transport.peer.address,
            self.service.hostname,
            protocol_name(
                "LMTP" if self.profile is Profile.LMTP else "SMTP",
                extended=hello.extended,
                tls=tls is not None,
                authenticated=self.account is not None,
                utf8=mail.smtputf8,
            ),
            self._id,
            int(self.service.clock()),
            tls.version if tls is not None else "",
            tls.cipher if tls is not None else "",
            self._recipients[0].address if len(self._recipients) == 1 else None,
        )

    def _forget_content(self, reason: str) -> None:
        intake, self._intake = self._intake, None
        if intake is None:
            return
        intake.abort()
        mail = self.engine.mail
        sender = str(mail.sender) if mail is not None and mail.sender is not None else ""
        self._record(sender, self._recipients, None, reason)
        self._recipients = []

    def _forget_transaction(self) -> None:
        self._forget_content("abandoned")
        self._recipients = []

    def _record(
        self, sender: str, recipients: list[Recipient], content: SpoolResult | None, outcome: str
    ) -> None:
        if self.service.record is not None:
            self.service.record(
                TransactionRecord(
                    self.transport.session_id,
                    self._id,
                    self.transport.peer.address,
                    sender,
                    tuple(str(recipient.address) for recipient in recipients),
                    content.blob.size if content is not None else 0,
                    self.account.name if self.account is not None else "",
                    outcome,
                )
            )
