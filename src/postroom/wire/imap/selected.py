"""The responses to SELECT, all in one: functions that take plain values and give octets (RFC 3501 §7.1, §7.2, §7.3).

Purpose: a SELECT costs one formatting operation. Measured: a quarter of a SELECT, a tenth of a session that logs in, selects and
leaves, against a typed response for each line.

It must not know where values come from.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from postroom.model.flags import Keywords
from postroom.wire.imap.values.flags import ReportedFlags, write_reported_flags

SYSTEM_FLAGS: Final = 31
"""All five settable system flags."""


@lru_cache(maxsize=1024)
def _flags(keywords: Keywords, read_only: bool) -> tuple[bytes, bytes]:
    """The values of FLAGS and PERMANENTFLAGS."""
    permanent = ReportedFlags() if read_only else ReportedFlags(SYSTEM_FLAGS, keywords, star=True)
    return write_reported_flags(ReportedFlags(SYSTEM_FLAGS, keywords)), write_reported_flags(permanent)


def selected_lines(
    keywords: Keywords,
    *,
    read_only: bool,
    exists: int,
    before: bytes,
    mailbox_id: str,
    uid_validity: int,
    uid_next: int,
    highest_modseq: int,
) -> bytes:
    """FLAGS, EXISTS and the response codes; ``before`` goes behind EXISTS: RECENT and UNSEEN, or LIST (``recent_lines``)."""
    flags, permanent = _flags(keywords, read_only)
    return (
        b"* FLAGS %b\r\n"
        b"* %d EXISTS\r\n"
        b"%b"
        b"* OK [PERMANENTFLAGS %b] Flags permitted\r\n"
        b"* OK [MAILBOXID (%b)] Identity\r\n"
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n"
        b"* OK [UIDNEXT %d] Predicted next UID\r\n"
        b"* OK [HIGHESTMODSEQ %d] Highest\r\n"
        % (
            flags,
            exists,
            before,
            permanent,
            mailbox_id.encode("ascii"),
            uid_validity,
            uid_next,
            highest_modseq,
        )
    )


def recent_lines(recent: int, unseen: int) -> bytes:
    """RECENT, and the number of the first unseen message unless it is 0."""
    if not unseen:
        return b"* %d RECENT\r\n" % recent
    return b"* %d RECENT\r\n* OK [UNSEEN %d] First unseen\r\n" % (recent, unseen)
