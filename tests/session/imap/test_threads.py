"""Threading against a plain reading of RFC 5256 §3, and against what would make it slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from postroom.session.imap.threads import Members, by_references, ordered_subject
from postroom.wire.cursor import Cursor
from postroom.wire.imap.ext.thread import parse_thread_data, write_thread_data
from postroom.wire.imap.responses import ThreadData


@dataclass(eq=False)
class Container:
    """A message or a dummy, as the RFC tells it."""

    message: int | None = None
    parent: Container | None = None
    children: list[Container] = field(default_factory=list)

    def has(self, other: Container) -> bool:
        return self is other or any(child.has(other) for child in self.children)

    def adopt(self, child: Container) -> None:
        child.leave()
        child.parent = self
        self.children.append(child)

    def leave(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None


class Reference:
    """The six steps one after another, recursively."""

    def __init__(
        self,
        ids: Sequence[str],
        references: Sequence[Sequence[str]],
        subjects: Sequence[str],
        dates: Sequence[int],
        is_reply: Callable[[int], bool],
    ) -> None:
        self.subjects, self.dates, self.is_reply = subjects, dates, is_reply
        table: dict[str, Container] = {}
        messages = []
        for index, name in enumerate(ids):
            container = Container(index)
            messages.append(container)
            if name:
                table.setdefault(name, container)
        order = list(messages)

        def find(name: str) -> Container:
            if name not in table:
                table[name] = Container()
                order.append(table[name])
            return table[name]

        for container, named in zip(messages, references, strict=True):
            chain = [find(name) for name in named]
            for above, below in pairwise(chain):
                if below.parent is None and not below.has(above):
                    above.adopt(below)
            container.leave()
            if chain and not container.has(chain[-1]):
                chain[-1].adopt(container)
        self.root = Container()
        for container in order:
            if container.parent is None:
                self.root.adopt(container)
        for top in list(self.root.children):
            self.prune(top)
        self.finish()

    def prune(self, node: Container) -> None:
        for child in list(node.children):
            self.prune(child)
        if node.message is not None:
            return
        parent = node.parent
        assert parent is not None
        if not node.children:
            node.leave()
        elif parent is not self.root or len(node.children) == 1:
            for child in list(node.children):
                parent.adopt(child)
            node.leave()

    def key(self, node: Container) -> tuple[int, int]:
        if node.message is None:
            return min(self.key(child) for child in node.children)
        return self.dates[node.message], node.message

    def subject(self, node: Container) -> str:
        first = node if node.message is not None else min(node.children, key=self.key)
        assert first.message is not None
        return self.subjects[first.message]

    def replies(self, node: Container) -> bool:
        return node.message is not None and self.is_reply(node.message)

    def finish(self) -> None:
        tops = sorted(self.root.children, key=self.key)
        subjects = {top: self.subject(top) for top in tops}
        table: dict[str, Container] = {}
        for top in tops:
            subject = subjects[top]
            there = table.get(subject)
            if subject and (
                there is None
                or (
                    there.message is not None
                    and (top.message is None or (self.replies(there) and not self.replies(top)))
                )
            ):
                table[subject] = top
        for top in tops:
            subject = subjects[top]
            if not subject or table[subject] is top:
                continue
            there = table[subject]
            if there.message is None:
                for child in list(top.children) if top.message is None else [top]:
                    there.adopt(child)
                if top.message is None:
                    top.leave()
            elif self.replies(top) and not self.replies(there):
                there.adopt(top)
            else:
                dummy = Container()
                self.root.adopt(dummy)
                dummy.adopt(there)
                dummy.adopt(top)
                table[subject] = dummy
        self.sort(self.root)

    def sort(self, node: Container) -> None:
        for child in node.children:
            self.sort(child)
        node.children.sort(key=self.key)

    def members(self) -> Members:
        found: Members = []

        def walk(node: Container, depth: int) -> None:
            found.append((depth, 0 if node.message is None else node.message + 1))
            for child in node.children:
                walk(child, depth + 1)

        for top in self.root.children:
            walk(top, 0)
        return found


NAMES = st.sampled_from(["", *"abcdefgh"])
MESSAGES = st.lists(
    st.tuples(
        NAMES,
        st.lists(st.sampled_from("abcdefghij"), max_size=4, unique=True),
        st.sampled_from(["", "figs", "pears"]),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=12,
)


@given(MESSAGES)
def test_as_the_standard_tells_it(messages: list[tuple[str, list[str], str, int, bool]]) -> None:
    ids, references, subjects, dates, replies = [list(column) for column in zip(*messages, strict=True)] or [
        []
    ] * 5
    found = by_references(ids, references, subjects, dates, replies.__getitem__)
    assert found == Reference(ids, references, subjects, dates, replies.__getitem__).members()
    assert sorted(number for _, number in found if number) == list(range(1, len(messages) + 1))


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(0, 5)), max_size=12))
def test_ordered_subject(messages: list[tuple[str, int]]) -> None:
    subjects, dates = [each[0] for each in messages], [each[1] for each in messages]
    threads: list[list[int]] = []
    for index in sorted(range(len(messages)), key=lambda one: (subjects[one], dates[one], one)):
        if threads and subjects[threads[-1][0]] == subjects[index]:
            threads[-1].append(index)
        else:
            threads.append([index])
    threads.sort(key=lambda thread: (dates[thread[0]], thread[0]))
    wanted = [(1 if place else 0, index + 1) for thread in threads for place, index in enumerate(thread)]
    assert ordered_subject(subjects, dates) == wanted


@given(MESSAGES)
def test_what_is_written_is_read(messages: list[tuple[str, list[str], str, int, bool]]) -> None:
    ids, references, subjects, dates, replies = [list(column) for column in zip(*messages, strict=True)] or [
        []
    ] * 5
    data = ThreadData(tuple(by_references(ids, references, subjects, dates, replies.__getitem__)))
    written = write_thread_data(data)
    assert parse_thread_data(Cursor(written[len(b"THREAD") :])) == data


def test_examples_of_the_standard() -> None:
    data = ThreadData(((0, 2), (0, 3), (1, 6), (2, 4), (3, 23), (2, 44), (3, 7), (4, 96)))
    assert write_thread_data(data) == b"THREAD (2)(3 6 (4 23)(44 7 96))"
    assert write_thread_data(ThreadData(((0, 0), (1, 3), (1, 5)))) == b"THREAD ((3)(5))"


DEEP = 100_000


def test_a_deep_thread_is_neither_recursion_nor_quadratic() -> None:
    ids = [f"{n}@x" for n in range(DEEP)]
    forwards = by_references(
        ids, [ids[n - 1 : n] for n in range(DEEP)], [""] * DEEP, [0] * DEEP, lambda _index: False
    )
    assert forwards == [(n, n + 1) for n in range(DEEP)]
    backwards = by_references(
        ids, [ids[n + 1 : n + 2] for n in range(DEEP)], [""] * DEEP, [0] * DEEP, lambda _index: False
    )
    assert backwards == [(DEEP - 1 - n, n + 1) for n in reversed(range(DEEP))]
    data = ThreadData(tuple(forwards))
    assert parse_thread_data(Cursor(write_thread_data(data)[len(b"THREAD") :])) == data


def test_circles_and_long_walks_end() -> None:
    ids = [f"{n}@x" for n in range(2_000)]
    circle = [[ids[n - 1]] for n in range(2_000)]
    assert len(by_references(ids, circle, [""] * 2_000, [0] * 2_000, lambda _index: False)) == 2_000
    everything = [ids[:n] + ids[n + 1 :] for n in range(0, 2_000, 40)]
    found = by_references(ids[:50], everything, [""] * 50, [0] * 50, lambda _index: False)
    assert sorted(number for _, number in found if number) == list(range(1, 51))
