"""What a submitted message says about its author, and what it forgot to say (RFC 6409 §6.1, §8).

Purpose: From and Sender must belong to who has logged in (threats S6); a missing From, Date or Message-ID is added.

Invariants: every address of From and Sender is looked at, whatever the syntax around it; what cannot be read as an address is
nobody's and is refused. The octets that came are not changed.

It must not know: SMTP, the directory beyond the question it answers.
"""

from __future__ import annotations

from collections.abc import Callable

from postroom.mime.address import parse_address_list
from postroom.mime.date import format_date
from postroom.mime.header import iter_fields, unfold
from postroom.model.address import Address
from postroom.model.errors import NotAllowed, PostroomError, TooLarge

_WANTED = frozenset({b"from", b"sender", b"date", b"message-id"})


class MalformedMessage(PostroomError):
    """The message breaks a rule of RFC 5322 that is not tolerated at submission."""

    default_public = "Malformed message"


def check_submission(
    header: bytes,
    complete: bool,
    *,
    owns: Callable[[Address], bool],
    sender: Address | None,
    now: int,
    message_id: str,
) -> bytes:
    """Fields to add in front. ``message_id`` is what to use for a missing one, without brackets.

    Raises NotAllowed, MalformedMessage, TooLarge (a header longer than what is looked at).
    """
    if not complete:
        raise TooLarge("Header too large")
    found: dict[bytes, list[bytes]] = {}
    for field in iter_fields(header):
        if field.name in _WANTED:
            found.setdefault(field.name, []).append(unfold(header[field.value : field.end]).strip())
    for name in (b"from", b"sender"):
        values = found.get(name, [])
        if len(values) > 1:
            raise MalformedMessage(f"More than one {name.decode().capitalize()} field")
        if values:
            _check_owned(values[0], owns)
    added: list[bytes] = []
    if b"from" not in found and sender is not None:
        added.append(b"From: <%b>\r\n" % str(sender).encode("utf-8"))
    if b"date" not in found:
        added.append(b"Date: %b\r\n" % format_date(now).encode("ascii"))
    if b"message-id" not in found:
        added.append(b"Message-ID: <%b>\r\n" % message_id.encode("ascii"))
    return b"".join(added)


def _check_owned(value: bytes, owns: Callable[[Address], bool]) -> None:
    addresses = [entry for entry in parse_address_list(value) if entry.domain is not None]
    if not addresses:
        raise NotAllowed("From and Sender must name an address of yours")
    for entry in addresses:
        try:
            address = Address(
                (entry.local or b"").decode("utf-8"), (entry.domain or b"").decode("utf-8").lower()
            )
        except UnicodeDecodeError:
            raise NotAllowed("From and Sender must name an address of yours") from None
        if not owns(address):
            raise NotAllowed("From and Sender must be addresses of yours")
