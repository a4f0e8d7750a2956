"""Threading of messages (RFC 5256 §3), on plain values.

Invariants: nothing recurses, however deep a thread is. Time is linear in messages and references, but for sorting, and memory as
well: looking for a loop walks up a thread only where one is possible, and all walks together are limited; beyond, a link that
might close a loop is not made.

It must not know: stores, protocols' state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

WALKS: Final = 50
"""Steps of all walks together, for each message and each reference."""

Members = list[tuple[int, int]]
"""(depth, index + 1), each message before those below it; 0 for a parent that is not among the messages."""


def ordered_subject(subjects: Sequence[str], dates: Sequence[int]) -> Members:
    """Threads of messages with the same base subject, flat below the first of them. ``subjects`` are folded; messages are
    given in the order of their numbers."""
    threads: dict[str, list[int]] = {}
    for index, subject in enumerate(subjects):
        threads.setdefault(subject, []).append(index)
    for thread in threads.values():
        thread.sort(key=dates.__getitem__)
    found: Members = []
    for thread in sorted(threads.values(), key=lambda one: (dates[one[0]], one[0])):
        found += [(1 if place else 0, index + 1) for place, index in enumerate(thread)]
    return found


class _Forest:
    """Messages and dummies by number, with their parents. A message's number is its index, dummies follow."""

    __slots__ = ("_budget", "_tree", "ids", "parents", "with_children")

    def __init__(self, count: int, budget: int) -> None:
        self.parents = [-1] * count
        self._tree = list(range(count))  # union-find: what was ever linked
        self.with_children = bytearray(count)
        self.ids: dict[str, int] = {}
        self._budget = budget

    def node(self, message_id: str) -> int:
        """The message with this id, or a dummy for it."""
        found = self.ids.get(message_id)
        if found is None:
            found = self.ids[message_id] = len(self.parents)
            self.parents.append(-1)
            self._tree.append(found)
            self.with_children.append(0)
        return found

    def link(self, parent: int, child: int) -> None:
        """Make the link unless it would close a loop."""
        if parent == child or (
            self.with_children[child] and self._related(parent, child) and self._is_above(child, parent)
        ):
            return
        self.parents[child] = parent
        self.with_children[parent] = 1
        self._tree[self._root(child)] = self._root(parent)

    def _related(self, one: int, other: int) -> bool:
        return self._root(one) == self._root(other)

    def _root(self, node: int) -> int:
        tree = self._tree
        while tree[node] != node:
            tree[node] = tree[tree[node]]
            node = tree[node]
        return node

    def _is_above(self, node: int, other: int) -> bool:
        """Whether ``node`` is ``other`` or above it; also when that is not to be found out."""
        parents = self.parents
        while other >= 0:
            if other == node:
                return True
            self._budget -= 1
            if self._budget < 0:
                return True
            other = parents[other]
        return False


def by_references(
    message_ids: Sequence[str],
    references: Sequence[Sequence[str]],
    subjects: Sequence[str],
    dates: Sequence[int],
    is_reply: Callable[[int], bool],
) -> Members:
    """Threads by who answers whom, then by base subject. Messages are given in the order of their numbers; ids are normalised
    and empty where there is none, ``subjects`` folded base subjects. ``is_reply`` tells of a message whether its subject
    says that it is a reply or forward."""
    count = len(message_ids)
    parents = _link(message_ids, references)
    children: list[list[int]] = [[] for _ in parents]
    roots: list[int] = []
    for node, parent in enumerate(parents):
        (roots if parent < 0 else children[parent]).append(node)
    roots = _prune(roots, children, count)
    dates = [*dates, *(0 for _ in range(len(parents) - count))]
    merged = _Merged(roots, children, count, dates, subjects, is_reply)
    merged.run()
    return _flatten(merged, count)


def _link(message_ids: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    """Step 1: the parent of each message and dummy, -1 for none."""
    forest = _Forest(len(message_ids), WALKS * (len(message_ids) + sum(map(len, references)) + 1))
    for index, message_id in enumerate(message_ids):
        if message_id:
            forest.ids.setdefault(message_id, index)
    for index, named in enumerate(references):
        before = -1
        for message_id in named:
            node = forest.node(message_id)
            if before >= 0 and forest.parents[node] < 0:
                forest.link(before, node)
            before = node
        # What other messages said of this one's ancestry counts less than what it says itself.
        forest.parents[index] = -1
        if before >= 0:
            forest.link(before, index)
    return forest.parents


def _prune(roots: list[int], children: list[list[int]], count: int) -> list[int]:
    """Steps 2 and 3: dummies go; their children take their place, but below the root only when there is one."""
    if len(children) == count:
        return roots
    order: list[int] = list(roots)
    for node in order:  # grows while it is walked: every node stands behind its parent
        order += children[node]
    for node in reversed(order):
        kept: list[int] = []
        for child in children[node]:
            if child < count:
                kept.append(child)
            else:
                kept += children[child]
        children[node] = kept
    found: list[int] = []
    for root in roots:
        if root < count or len(children[root]) > 1:
            found.append(root)
        else:
            found += children[root]
    return found


class _Merged:
    """Steps 4 to 6: threads of the same subject become one; siblings are sorted."""

    def __init__(
        self,
        roots: list[int],
        children: list[list[int]],
        count: int,
        dates: list[int],
        subjects: Sequence[str],
        is_reply: Callable[[int], bool],
    ) -> None:
        self.roots = roots
        self.children = children
        self.dates = dates
        self._count = count
        self._subjects = subjects
        self._is_reply = is_reply

    def run(self) -> None:
        self._sort_roots()
        table = self._subject_table()
        gone: set[int] = set()
        made: list[int] = []
        for root in self.roots:
            subject = self._subject(root)
            if subject and table[subject] != root:
                self._merge(root, subject, table, gone, made)
        self.roots = [root for root in (*self.roots, *made) if root not in gone]
        for siblings in self.children:
            if len(siblings) > 1:
                siblings.sort(key=self._key)
        self._sort_roots()

    def _is_dummy(self, node: int) -> bool:
        return node >= self._count

    def _key(self, node: int) -> tuple[int, int]:
        return self.dates[node], node

    def _sort_roots(self) -> None:
        """By date; a dummy by its first child."""
        for root in self.roots:
            if self._is_dummy(root):
                self.children[root].sort(key=self._key)
        self.roots.sort(key=lambda root: self._key(self.children[root][0] if self._is_dummy(root) else root))

    def _subject(self, root: int) -> str:
        return self._subjects[self.children[root][0] if self._is_dummy(root) else root]

    def _subject_table(self) -> dict[str, int]:
        table: dict[str, int] = {}
        for root in self.roots:
            subject = self._subject(root)
            if not subject:
                continue
            there = table.get(subject)
            if there is None or (
                not self._is_dummy(there)
                and (self._is_dummy(root) or (self._is_reply(there) and not self._is_reply(root)))
            ):
                table[subject] = root
        return table

    def _merge(self, root: int, subject: str, table: dict[str, int], gone: set[int], made: list[int]) -> None:
        there = table[subject]
        gone.add(root)
        if self._is_dummy(there):
            self.children[there] += self.children[root] if self._is_dummy(root) else [root]
        elif not self._is_dummy(root) and self._is_reply(root) and not self._is_reply(there):
            self.children[there].append(root)
        else:
            dummy = len(self.children)
            self.children.append([there, root])
            self.dates.append(0)
            gone.add(there)
            made.append(dummy)
            table[subject] = dummy


def _flatten(merged: _Merged, count: int) -> Members:
    found: Members = []
    waiting = [(0, root) for root in reversed(merged.roots)]
    while waiting:
        depth, node = waiting.pop()
        found.append((depth, node + 1 if node < count else 0))
        below = merged.children[node]
        if len(below) == 1:
            waiting.append((depth + 1, below[0]))
        elif below:
            waiting += [(depth + 1, child) for child in reversed(below)]
    return found
