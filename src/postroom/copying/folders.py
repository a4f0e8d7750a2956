"""Which mailbox of the source is which on the target.

Invariants: INBOX is INBOX; a mailbox with a special use goes to the target's mailbox of that use, whatever both are called; any
other keeps its path, written with the target's separator. Two mailboxes never go to the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postroom.copying.account import Folder
from postroom.model.mailbox import INBOX, SpecialUse

CONVENTIONAL: Final = {
    "sent": SpecialUse.SENT,
    "sent items": SpecialUse.SENT,
    "sent messages": SpecialUse.SENT,
    "sent mail": SpecialUse.SENT,
    "drafts": SpecialUse.DRAFTS,
    "draft": SpecialUse.DRAFTS,
    "trash": SpecialUse.TRASH,
    "deleted items": SpecialUse.TRASH,
    "deleted messages": SpecialUse.TRASH,
    "junk": SpecialUse.JUNK,
    "junk e-mail": SpecialUse.JUNK,
    "junk email": SpecialUse.JUNK,
    "spam": SpecialUse.JUNK,
    "archive": SpecialUse.ARCHIVE,
    "archives": SpecialUse.ARCHIVE,
}
"""Names programs gave before RFC 6154, in lower case: used for mailboxes at the root, or below INBOX, that carry no attribute."""


def special_uses(folders: Sequence[Folder]) -> dict[SpecialUse, Folder]:
    """The mailbox of each use: by attribute, else by its conventional name."""
    uses: dict[SpecialUse, Folder] = {}
    for folder in folders:
        if folder.use is not None:
            uses.setdefault(folder.use, folder)
    for folder in folders:
        path = folder.path[1:] if folder.path[0] == INBOX and len(folder.path) == 2 else folder.path
        use = CONVENTIONAL.get(path[0].lower()) if len(path) == 1 and folder.use is None else None
        if use is not None:
            uses.setdefault(use, folder)
    return uses


def map_folders(
    source: Sequence[Folder], target: Sequence[Folder], separator: str
) -> list[tuple[Folder, Folder, bool]]:
    """Each mailbox of the source, its place on the target, and whether that is there already.

    ``separator`` is the target's; empty means that it has no hierarchy: paths are joined with dots.
    """
    by_path = {folder.path: folder for folder in target}
    source_uses = {folder: use for use, folder in special_uses(source).items()}
    target_uses = special_uses(target)
    pairs: list[tuple[Folder, Folder, bool]] = []
    taken: set[str] = set()

    def claim(folder: Folder) -> int:
        """How good its claim to a mailbox of the target is: INBOX, a use, the same path, none."""
        if folder.path == (INBOX,):
            return 0
        return 1 if folder in source_uses else 2 if folder.path in by_path else 3

    for folder in sorted(source, key=claim):
        use = source_uses.get(folder)
        found = by_path.get(folder.path) if folder.path == (INBOX,) else None
        if found is None and use is not None:
            found = target_uses.get(use)
        if found is None:
            found = by_path.get(folder.path)
        if found is not None and found.name not in taken:
            taken.add(found.name)
            pairs.append((folder, found, True))
            continue
        made = _name(folder.path, separator, taken | {each.name for each in target})
        taken.add(made)
        pairs.append((folder, Folder(made, folder.path, use, folder.subscribed), False))
    order = {folder: number for number, folder in enumerate(source)}
    return sorted(pairs, key=lambda pair: order[pair[0]])


def _name(path: tuple[str, ...], separator: str, taken: set[str]) -> str:
    """A path as a name on the target; what would be mistaken for its hierarchy is replaced."""
    if separator:
        parts = [part.replace(separator, "_") or "_" for part in path]
        name = separator.join(parts)
    else:
        name = ".".join(path)
    plain, number = name, 1
    while name in taken:
        number += 1
        name = f"{plain} {number}"
    return name
