"""Part numbers, sections and stored structures (RFC 3501 §6.4.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.facts import Part
from postroom.mime.scanner import scan
from postroom.mime.structure import Section, dump_structure, find_part, load_structure, section_range

# The example of RFC 3501 §6.4.5, part by part.
EXAMPLE = b"""\
Subject: top
Content-Type: multipart/mixed; boundary=a

--a

one
--a
Content-Type: application/octet-stream

two
--a
Content-Type: message/rfc822

Subject: three
Content-Type: multipart/mixed; boundary=b

--b

three.one
--b
Content-Type: application/octet-stream

three.two
--b--
--a
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: image/gif

four.one
--c
Content-Type: message/rfc822

Subject: four.two
Content-Type: multipart/mixed; boundary=d

--d

four.two.one
--d
Content-Type: multipart/alternative; boundary=e

--e

four.two.two.one
--e
Content-Type: text/richtext

four.two.two.two
--e--
--d--
--c--
--a--
""".replace(b"\n", b"\r\n")
ROOT = scan(EXAMPLE).root


def section(path: tuple[int, ...], what: Section = "") -> bytes | None:
    found = section_range(ROOT, path, what)
    return None if found is None else EXAMPLE[found[0] : found[1]]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ((1,), b"one"),
        ((2,), b"two"),
        ((3, 1), b"three.one"),
        ((3, 2), b"three.two"),
        ((4, 1), b"four.one"),
        ((4, 2, 1), b"four.two.one"),
        ((4, 2, 2, 1), b"four.two.two.one"),
        ((4, 2, 2, 2), b"four.two.two.two"),
    ],
)
def test_leaves(path: tuple[int, ...], content: bytes) -> None:
    assert section(path) == content


def test_whole_header_and_text() -> None:
    assert section(()) == EXAMPLE
    head = section((), "HEADER")
    assert head is not None
    assert head.endswith(b"boundary=a\r\n\r\n")
    assert head + (section((), "TEXT") or b"") == EXAMPLE


def test_embedded_header_text_and_mime() -> None:
    assert section((3,), "HEADER") == b"Subject: three\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    assert (section((3,), "HEADER") or b"") + (section((3,), "TEXT") or b"") == section((3,))
    assert section((3,), "MIME") == b"Content-Type: message/rfc822\r\n\r\n"
    assert section((4, 1), "MIME") == b"Content-Type: image/gif\r\n\r\n"
    assert (section((4, 2), "HEADER") or b"").startswith(b"Subject: four.two\r\n")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ((5,), ""), ((0,), ""), ((1, 1), ""), ((2, 1), ""), ((3, 3), ""), ((4, 2, 2, 2, 1), ""), ((), "MIME"),
        ((1,), "HEADER"), ((4,), "TEXT"), ((4, 2, 2), "HEADER"), ((9,), "MIME"),
    ],
)  # fmt: skip
def test_sections_that_do_not_exist(path: tuple[int, ...], what: Section) -> None:
    assert section_range(ROOT, path, what) is None


def test_single_part_message() -> None:
    octets = b"Subject: x\r\n\r\nbody"
    root = scan(octets).root
    assert find_part(root, (1,)) is root
    assert section_range(root, (1,)) == section_range(root, (), "TEXT") == (14, 18)
    assert section_range(root, (1,), "MIME") == (0, 14)
    assert find_part(root, (1, 1)) is None
    assert find_part(root, (2,)) is None
    assert section_range(root, (1,), "HEADER") is None


def test_message_whose_body_is_a_message() -> None:
    octets = b"Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\nSubject: a\r\n\r\nSubject: b\r\n\r\nend"
    root = scan(octets).root
    inner = root.children[0]
    innermost = inner.children[0]
    assert find_part(root, (1,)) is root, "part 1 is the body: the embedded message"
    assert section_range(root, (1,), "HEADER") == (inner.header, inner.body)
    assert find_part(root, (1, 1)) is inner
    assert section_range(root, (1, 1), "HEADER") == (innermost.header, innermost.body)
    assert find_part(root, (1, 1, 1)) is innermost
    assert section_range(root, (1, 1, 1)) == (innermost.body, innermost.end)
    assert find_part(root, (1, 1, 1, 1)) is None


_WORDS = st.text("abcé-", min_size=1, max_size=6)
_NUMBERS = st.one_of(st.integers(0, 1000), st.integers(0, 2**40))


def _part(children: st.SearchStrategy[list[Part]]) -> st.SearchStrategy[Part]:
    return st.builds(
        Part, _WORDS, _WORDS, _NUMBERS, _NUMBERS, _NUMBERS, st.integers(0, 2**31),
        st.one_of(st.sampled_from(["7bit", "base64"]), _WORDS),
        st.dictionaries(_WORDS, st.text(max_size=9), max_size=3), children,
    )  # fmt: skip


_TREES = st.recursive(_part(st.just([])), lambda inner: _part(st.lists(inner, max_size=3)), max_leaves=12)


@given(_TREES)
def test_structures_come_back(root: Part) -> None:
    # only a whole message's end says how wide offsets must be
    root.end = 2**41
    assert load_structure(dump_structure(root)) == root


def test_structure_is_compact() -> None:
    assert len(dump_structure(scan(b"Subject: x\r\n\r\nbody").root)) < 50


@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 255))
def test_damaged_structures_are_refused(noise: bytes, cut: int, flip: int) -> None:
    good = dump_structure(ROOT)
    for octets in (noise, good[: cut % len(good)], good + b"x"):
        if octets == good:
            continue
        with pytest.raises(ValueError):
            load_structure(octets)
    changed = bytearray(good)
    changed[cut % len(good)] ^= flip
    try:
        load_structure(bytes(changed))
    except ValueError:
        pass
