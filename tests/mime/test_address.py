"""Address lists (RFC 5322 §3.4, §4.4 and what senders write)."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.address import Budget, Entry, parse_address_list

END = Entry(None, None, None, None)


def addr(local: bytes, domain: bytes, name: bytes | None = None, route: bytes | None = None) -> Entry:
    return Entry(name, route, local, domain)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b.c", [addr(b"a", b"b.c")]),
        (b"<a@b.c>", [addr(b"a", b"b.c")]),
        (
            b"Joe Q. Public <john.q.public@example.com>",
            [addr(b"john.q.public", b"example.com", b"Joe Q. Public")],
        ),
        (
            b'"Giant; \\"Big\\" Box" <sysservices@example.net>',
            [addr(b"sysservices", b"example.net", b'Giant; "Big" Box')],
        ),
        (b"Who? <one@y.test>, two@z.test", [addr(b"one", b"y.test", b"Who?"), addr(b"two", b"z.test")]),
        (
            b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            [
                Entry(None, None, b"A Group", None),
                addr(b"c", b"a.test", b"Ed Jones"),
                addr(b"joe", b"where.test"),
                addr(b"jdoe", b"one.test", b"John"),
                END,
            ],
        ),
        (b"Undisclosed recipients:;", [Entry(None, None, b"Undisclosed recipients", None), END]),
        (
            b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            [addr(b"pete", b"silly.test", b"Pete")],
        ),
        (
            b"<@node.test,@other.test:mary@example.net>",
            [addr(b"mary", b"example.net", None, b"@node.test,@other.test")],
        ),
        (b"jdoe@test . example", [addr(b"jdoe", b"test.example")]),
        (b"john . doe@example.org", [addr(b"john.doe", b"example.org")]),
        (b'"john doe"@example.org', [addr(b"john doe", b"example.org")]),
        (b"a@[192.0.2.1]", [addr(b"a", b"[192.0.2.1]")]),
        (b"mary@x.test (Mary Smith)", [addr(b"mary", b"x.test", b"Mary Smith")]),
        (b"<mary@x.test> (Mary)", [addr(b"mary", b"x.test", b"Mary")]),
        (b"(one (nested (deep))) a@b", [addr(b"a", b"b", b"one (nested (deep))")]),
        (b"=?utf-8?Q?J=C3=BC?= <j@x.test>", [addr(b"j", b"x.test", b"=?utf-8?Q?J=C3=BC?=")]),
        (b"a@b.test <a@b.test>", [addr(b"a", b"b.test", b"a@b.test")]),
        (b"One <a@b> Two <c@d>", [addr(b"a", b"b", b"One"), addr(b"c", b"d", b"Two")]),
        (b"Mary Smith mary@x.test", [addr(b"mary", b"x.test", b"Mary Smith")]),
        (b"root", [addr(b"root", b"")]),
        (b"a@b,,, c@d,", [addr(b"a", b"b"), addr(b"c", b"d")]),
        (b"a@b; c@d", [addr(b"a", b"b"), addr(b"c", b"d")]),
        (b"<>", []),
        (b"", []),
        (b" , ", []),
        (b'"unclosed <a@b>', [addr(b"unclosed <a@b>", b"")]),
        (b"x <a@b", [addr(b"a", b"b", b"x")]),
        (b"team: a@b", [Entry(None, None, b"team", None), addr(b"a", b"b"), END]),
        (b"a@b@c", [addr(b"a@b", b"c")]),
        (b"\xc3\xa4@b", [addr(b"\xc3\xa4", b"b")]),
    ],
)
def test_forms(value: bytes, expected: list[Entry]) -> None:
    assert parse_address_list(value) == expected


def test_limit_is_kept_and_groups_stay_closed() -> None:
    budget = Budget(addresses=5)
    entries = parse_address_list(b"g: " + b"'x' <a@b>, " * 20, budget)
    assert len(entries) == 5
    assert entries[0].domain is None
    assert entries[-1] == END
    assert budget.over


def test_budget_is_shared_between_fields() -> None:
    budget = Budget(addresses=3)
    assert len(parse_address_list(b"a@b, c@d", budget)) == 2
    assert len(parse_address_list(b"a@b, c@d", budget)) == 1
    assert budget.over


def test_token_budget_ends_the_work() -> None:
    budget = Budget(tokens=100)
    entries = parse_address_list(b'"x" ' * 1000 + b"<a@b>", budget)
    assert budget.over
    assert len(entries) <= 1


_ATOM = st.text("abcxyz0129-_+", min_size=1, max_size=8)
_NAME = st.text('abc XYZ.,;:<>@"()\\', min_size=1, max_size=12).map(str.strip).filter(bool)


@given(st.lists(st.tuples(st.one_of(st.just(""), _NAME), _ATOM, _ATOM), min_size=1, max_size=5))
def test_what_the_standard_library_writes_is_read(people: list[tuple[str, str, str]]) -> None:
    written = ", ".join(email.utils.formataddr((name, f"{local}@{domain}")) for name, local, domain in people)
    expected = [
        Entry(name.encode() or None, None, local.encode(), domain.encode()) for name, local, domain in people
    ]
    found = parse_address_list(written.encode())
    for entry in found:  # email leaves runs of spaces inside atoms as they are
        entry.name = b" ".join(entry.name.split()) if entry.name else entry.name
    for entry in expected:
        entry.name = b" ".join(entry.name.split()) if entry.name else entry.name
    assert found == expected


@given(st.binary(max_size=200))
def test_any_octets(value: bytes) -> None:
    depth = 0
    for entry in parse_address_list(value):
        if entry.domain is None:
            depth += 1 if entry.local is not None else -1
        assert depth in (0, 1)
    assert depth == 0


@given(
    st.lists(
        st.sampled_from(
            [b"a", b" ", b"@", b"<", b">", b",", b";", b":", b'"', b"(", b")", b"\\", b".", b"[", b"]"]
        ),
        max_size=30,
    )
)
def test_any_marks(pieces: list[bytes]) -> None:
    entries = parse_address_list(b"".join(pieces))
    assert sum(e.domain is None and e.local is not None for e in entries) == entries.count(END)
