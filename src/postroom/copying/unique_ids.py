"""The unique ids (UIDL) that messages of INBOX have at the source, for the messages as they were copied.

Two ways to know them: by asking the source's POP3, or by the rule after which a kind of server makes them of UID and UIDVALIDITY.

Invariants: an id is given to the message it belongs to or to none. What POP3 lists is believed only as far as its messages, in
their order, have the sizes that IMAP tells.

It must not know: connections, files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from postroom.collect.remote import RemoteMessage
from postroom.copying.account import Message

RULES: Final[dict[str, Callable[[int, int], str]]] = {
    "dovecot": lambda uid, validity: f"{uid:08x}{validity:08x}",
    "cyrus": lambda uid, validity: f"{validity}.{uid}",
    "courier": lambda uid, validity: f"{validity}-{uid}",
    "postroom": lambda uid, validity: f"{validity}.{uid}",
}
"""What each makes of UID and UIDVALIDITY unless it is told otherwise."""


@dataclass(slots=True)
class UniqueIdReport:
    """``ids`` by the target's UID; ``unknown`` messages have none."""

    ids: dict[int, str]
    unknown: int = 0


def by_rule(rule: str, validity: int, copied: dict[int, int]) -> UniqueIdReport:
    """``copied`` tells target UIDs by source UID; ``validity`` is the source's UIDVALIDITY."""
    make = RULES[rule]
    return UniqueIdReport({target: make(source, validity) for source, target in copied.items()})


def by_listing(
    listed: Sequence[RemoteMessage], messages: Sequence[Message], copied: dict[int, int]
) -> UniqueIdReport:
    """From what POP3 lists, against the same mailbox by IMAP in the order of its UIDs."""
    report = UniqueIdReport({})
    for theirs, message in zip(listed, sorted(messages, key=lambda each: each.uid), strict=False):
        if theirs.size != message.size:
            break  # from here on nothing is certain
        if message.uid in copied:
            report.ids[copied[message.uid]] = theirs.key
    report.unknown = len(copied) - len(report.ids)
    return report
