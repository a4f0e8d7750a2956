"""APPEND (RFC 3501 §6.3.11, RFC 3502, RFC 7889): messages stream into spools, then one transaction stores them all.

Invariants: the size is checked before the client sends a single octet; a message that breaks off leaves nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroom.model.errors import NoSuchMailbox, PostroomError, QuotaExceeded
from postroom.model.mailbox import Mailbox
from postroom.model.message import NewMessage
from postroom.model.uidset import UidSet
from postroom.session.imap.errors import code_of
from postroom.session.imap.names import canonical
from postroom.store.api import Spool
from postroom.wire.imap.commands import AppendMessage
from postroom.wire.imap.events import AppendBegin
from postroom.wire.imap.responses import AppendUid, Code, Kind, Tagged, Word

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession


MAX_MESSAGES: Final = 1_000
"""Of one APPEND: small ones wait in memory for the last (RFC 3502)."""


class Appending:
    """One APPEND command under way."""

    __slots__ = ("_announced", "_mailbox", "_messages", "_octets", "_session", "_spool", "_tag")

    def __init__(self, session: ImapSession) -> None:
        self._session = session
        self._tag = b""
        self._mailbox: Mailbox | None = None
        self._messages: list[NewMessage] = []
        self._announced: AppendMessage | None = None
        self._spool: Spool | None = None
        self._octets = 0

    async def begin(self, event: AppendBegin) -> None:
        """A message is announced: accept it or refuse the whole command."""
        self._tag = event.tag
        session = self._session
        if self._mailbox is None and not self._open(event.mailbox):
            return
        size = event.message.size
        if size == 0:
            self._refuse("Empty message: APPEND cancelled", None)
            return
        if event.index >= MAX_MESSAGES:
            self._refuse("Too many messages in one APPEND", Word.LIMIT)
            return
        if size > session.services.message_limit:
            self._refuse("Message is larger than APPENDLIMIT", Word.TOOBIG)
            return
        usage = session.store.usage(session.account_id)
        if usage.quota and usage.octets + self._octets + size > usage.quota:
            self._refuse(QuotaExceeded.default_public, Word.OVERQUOTA)
            return
        self._octets += size
        self._announced = event.message
        self._spool = session.store.spool(size)
        session.engine.accept_append()

    async def chunk(self, data: bytes) -> None:
        """Octets of the message."""
        assert self._spool is not None
        waiting = self._spool.write(data)
        if waiting is not None:
            await waiting

    async def end(self) -> None:
        """The message is complete: its octets become durable, or wait inline for their row."""
        assert self._spool is not None
        assert self._announced is not None
        spool, self._spool = self._spool, None
        result = await spool.finish()
        seconds, zone = self._announced.date or self._session.services.clock()
        flags = self._announced.flags
        self._messages.append(
            NewMessage(result.blob, result.facts, seconds, zone, flags.system, flags.keywords)
        )

    async def finish(self, tag: bytes) -> None:
        """Store everything, then OK with the UIDs (RFC 4315 §3)."""
        session = self._session
        assert self._mailbox is not None
        view = session.view
        # Whoever appends to its selected mailbox claims \Recent with it: the report would need a commit of its own for that
        # (measured: two commits an APPEND instead of one).
        claims = (
            view is not None
            and not view.read_only
            and not session.rev2
            and (view.account, view.mailbox) == (session.account_id, self._mailbox.id)
        )
        try:
            done = await session.store.append(
                session.account_id, self._mailbox.id, self._messages, claim_recent=claims
            )
        except PostroomError as error:
            code = Word.TRYCREATE if isinstance(error, NoSuchMailbox) else code_of(error)
            session.send(Tagged(tag, Kind.NO, error.public, code))
            return
        if view is not None and done.claimed is not None and done.claimed[0] < done.claimed[1]:
            view.recent |= UidSet([(done.claimed[0], done.claimed[1] - 1)])
        try:
            await session.sync.report(expunge=True)
        except PostroomError:
            pass  # the messages are stored: this must not be answered with NO
        session.send(Tagged(tag, Kind.OK, "APPEND completed", AppendUid(done.uid_validity, done.uids)))

    def abort(self) -> None:
        """Forget what has come; files that were finished are swept later, as nobody refers to them."""
        if self._spool is not None:
            self._spool.abort()
            self._spool = None
        self._messages.clear()

    def _open(self, name: str) -> bool:
        session = self._session
        try:
            mailbox = session.store.mailbox(session.account_id, canonical(name))
        except NoSuchMailbox as error:
            self._refuse(error.public, Word.TRYCREATE)
            return False
        if not mailbox.selectable:
            self._refuse("Mailbox cannot hold messages", Word.TRYCREATE)
            return False
        self._mailbox = mailbox
        return True

    def _refuse(self, text: str, code: Code | None) -> None:
        self.abort()
        self._session.appending = None
        self._session.send(Tagged(self._tag, Kind.NO, text, code))
