"""The proof: both sides hold the same messages, octet by octet, with the same flags and dates.

Invariants: nothing is taken from the ledger but which message became which; the octets of both sides are fetched anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from postroom.copying.account import Folder, ImapAccount, Message, flags_of


@dataclass(slots=True)
class FolderProof:
    """One mailbox: how many messages were compared, and what differs. ``more`` are on the target alone."""

    source: str
    target: str
    same: int = 0
    more: int = 0
    differences: list[str] = field(default_factory=list)


async def prove(
    source: ImapAccount,
    target: ImapAccount,
    pairs: Sequence[tuple[Folder, Folder]],
    progress: Callable[[str, int], None] = lambda _folder, _done: None,
) -> list[FolderProof]:
    """Compare every pair of mailboxes. Raises what the accounts raise."""
    proofs = []
    for left, right in pairs:
        proof = FolderProof(left.name, right.name)
        proofs.append(proof)
        there = await _contents(source, left, progress)
        here = await _contents(target, right, progress)
        for digest, messages in there.items():
            twins = here.pop(digest, [])
            for message in messages:
                if not twins:
                    proof.differences.append(f"UID {message.uid} is not on the target")
                    continue
                twin = next((each for each in twins if flags_of(each) == flags_of(message)), twins[0])
                twins.remove(twin)
                wrong = _difference(message, twin)
                if wrong:
                    proof.differences.append(f"UID {message.uid}: {wrong}")
                else:
                    proof.same += 1
            proof.more += len(twins)
        proof.more += sum(len(messages) for messages in here.values())
    return proofs


def _difference(message: Message, twin: Message) -> str:
    if flags_of(message) != flags_of(twin):
        return "other flags"
    if message.date is not None and (twin.date is None or message.date[0] != twin.date[0]):
        return "another date"
    return ""


async def _contents(
    account: ImapAccount, folder: Folder, progress: Callable[[str, int], None]
) -> dict[bytes, list[Message]]:
    opened = await account.open(folder)
    found: dict[bytes, list[Message]] = {}
    done = 0
    async for message, octets in account.octets(await account.messages(opened)):
        found.setdefault(hashlib.sha256(octets).digest(), []).append(message)
        done += 1
        progress(folder.name, done)
    return found
