"""Commands that need no mailbox, and those that are little more than a report: RFC 3501 §6.1, ID, ENABLE, NAMESPACE, IDLE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroom.model.mailbox import SEPARATOR
from postroom.wire.imap.commands import Enable
from postroom.wire.imap.events import Request
from postroom.wire.imap.responses import (
    CapabilityData,
    Continue,
    EnabledData,
    IdData,
    Kind,
    NamespaceData,
    Untagged,
    Word,
)

if TYPE_CHECKING:
    from postroom.session.imap.session import ImapSession

ENABLEABLE: Final = {
    name.upper(): name for name in ("CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4rev2", "UIDONLY")
}
"""What ENABLE can turn on (RFC 5161 §3.1), as it is spelt."""
_UNSELECTED: Final = frozenset(("UTF8=ACCEPT", "IMAP4REV2", "UIDONLY"))
"""What can be turned on only while no mailbox is selected (RFC 6855 §3, RFC 9051 §6.3.1, RFC 5161 §3.1)."""


async def capability(session: ImapSession, request: Request) -> None:
    """CAPABILITY."""
    session.send(CapabilityData(session.engine.capabilities()))
    await session.finish(request, "CAPABILITY completed")


async def noop(session: ImapSession, request: Request) -> None:
    """NOOP and CHECK: what has changed is reported on the way out."""
    await session.finish(request, "Completed")


async def logout(session: ImapSession, request: Request) -> None:
    """LOGOUT."""
    session.send(Untagged(Kind.BYE, "postroom says goodbye"))
    session.ok(request, "LOGOUT completed")


async def identify(session: ImapSession, request: Request) -> None:
    """ID (RFC 2971): the product's name, no version: nothing an attacker could look up."""
    session.send(IdData((("name", "postroom"),)))
    await session.finish(request, "ID completed")


async def namespace(session: ImapSession, request: Request) -> None:
    """NAMESPACE (RFC 2342): one personal namespace without a prefix."""
    session.send(NamespaceData((("", SEPARATOR),)))
    await session.finish(request, "NAMESPACE completed")


async def enable(session: ImapSession, request: Request) -> None:
    """ENABLE (RFC 5161): answers with what has been turned on now."""
    command = request.command
    assert isinstance(command, Enable)
    wanted = [name for name in command.names if name in ENABLEABLE]
    if session.view is not None:
        wanted = [name for name in wanted if name not in _UNSELECTED]
    session.send(EnabledData(tuple(ENABLEABLE[name] for name in wanted)))
    if "CONDSTORE" in wanted or "QRESYNC" in wanted:
        session.sync.enable_condstore()  # QRESYNC implies it (RFC 7162 §3.2.3)
    if "QRESYNC" in wanted:
        session.sync.qresync = True
    if "IMAP4REV2" in wanted:
        session.rev2 = session.engine.utf8 = True
    if "UIDONLY" in wanted:
        session.sync.uidonly = True
    if "UTF8=ACCEPT" in wanted:
        session.utf8_accept = session.engine.utf8 = True
    await session.finish(request, "ENABLE completed")


async def idle(session: ImapSession, request: Request) -> None:
    """IDLE (RFC 2177): IdleDone ends it."""
    # Subscribe before the look, so that nothing falls between the two.
    session.start_idling(request.tag)
    session.send(Continue("idling"))
    await session.sync.report(expunge=True)


async def compress(session: ImapSession, request: Request) -> None:
    """COMPRESS (RFC 4978 §3)."""
    if session.engine.compressed:
        session.no(request, "Compression is active already", Word.COMPRESSIONACTIVE)
        return
    session.ok(request, "DEFLATE from here on")
    await session.transport.start_compression()


async def starttls(session: ImapSession, request: Request) -> None:
    """STARTTLS (RFC 3501 §6.2.1)."""
    session.ok(request, "Begin TLS negotiation now")
    await session.transport.start_tls()
    session.refresh_security()
    session.engine.tls_started()
