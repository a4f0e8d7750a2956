"""Content on the wire: dots, line ends, and every way to split them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.smtp.data import DotReader, DotWriter, LineEndCheck

PIECES = st.sampled_from(
    [b"\r\n", b".", b"\r", b"\n", b"x", b"\0", b"text ", b"\xff", b"\r\n.\r\n", b"\r\n."]
)
WILD = st.lists(PIECES, max_size=30).map(b"".join)
TEXT = st.lists(st.sampled_from([b"\r\n", b".", b"x", b"..", b"\xe9", b" "]), max_size=40).map(b"".join)
CUTS = st.lists(st.integers(0, 200), max_size=12)


def split(octets: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    return [octets[begin:end] for begin, end in pairwise(at)] or [b""]


def read(pieces: list[bytes]) -> tuple[bytes, bool, bool, bytes]:
    """The content, whether the end came, whether it is faulty, what followed."""
    reader = DotReader()
    content = bytearray()
    for n, piece in enumerate(pieces):
        content += reader.read(piece)
        if reader.ended:
            return bytes(content), True, reader.fault, reader.rest + b"".join(pieces[n + 1 :])
    return bytes(content), False, reader.fault, b""


def by_the_book(octets: bytes) -> tuple[bytes, bool, bool, bytes]:
    """The same, line by line (RFC 5321 §4.5.2)."""
    rest = octets
    lines: list[bytes] = []
    while b"\r\n" in rest:
        line, _, rest = rest.partition(b"\r\n")
        if line == b".":
            content = b"".join(each + b"\r\n" for each in lines)
            faulty = any(c in each for each in lines for c in (b"\r", b"\n", b"\0"))
            return content, True, faulty, rest
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"", False, False, b""


@given(WILD, CUTS)
def test_any_split_reads_the_same(octets: bytes, cuts: list[int]) -> None:
    content, ended, faulty, rest = read([octets])
    for pieces in (split(octets, cuts), [octets[n : n + 1] for n in range(len(octets))]):
        got = read(pieces)
        assert got[1] == ended
        if ended:
            assert got[2:] == (faulty, rest)
            if not faulty:
                assert got[0] == content


@given(WILD)
def test_what_ends_and_what_is_faulty_is_by_the_book(octets: bytes) -> None:
    content, ended, faulty, rest = by_the_book(octets)
    got = read([octets])
    assert got[1] == ended
    if ended:
        assert got[2:] == (faulty, rest)
        if not faulty:
            assert got[0] == content


@given(TEXT, CUTS, CUTS)
def test_what_is_written_is_read_back(content: bytes, cuts: list[int], other: list[int]) -> None:
    writer = DotWriter()
    wire = b"".join(writer.write(piece) for piece in split(content, cuts)) + writer.end()
    got, ended, faulty, rest = read(split(wire + b"QUIT\r\n", other))
    assert (ended, faulty, rest) == (True, False, b"QUIT\r\n")
    assert got == content if content.endswith(b"\r\n") or not content else got == content + b"\r\n"


@given(WILD, CUTS)
def test_whatever_is_stored_leaves_as_text(content: bytes, cuts: list[int]) -> None:
    writer = DotWriter()
    wire = b"".join(writer.write(piece) for piece in split(content, cuts)) + writer.end()
    assert wire.count(b"\r") == wire.count(b"\n") == wire.count(b"\r\n")
    assert wire.find(b"\r\n.\r\n") in (-1, len(wire) - 5)
    once = DotWriter()
    assert once.write(content) + once.end() == wire


@given(WILD, CUTS)
def test_line_ends_are_judged_the_same_however_split(octets: bytes, cuts: list[int]) -> None:
    good = octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n") and b"\0" not in octets
    check = LineEndCheck()
    assert (all(check.feed(piece) for piece in split(octets, cuts)) and check.finish()) == good


@pytest.mark.parametrize(
    "ending",
    [
        b"\n.\n",
        b"\r.\r",
        b"\r.\n",
        b"\n.\r",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
    ],
)
def test_no_other_ending_ends(ending: bytes) -> None:
    """threats S1, split at every octet."""
    octets = b"text" + ending + b"MAIL FROM:<a@b>\r\n"
    for cut in range(len(octets) + 1):
        assert read([octets[:cut], octets[cut:]])[1] is False
        _, ended, faulty, rest = read([octets[:cut], octets[cut:] + b".\r\n"])
        assert (ended, faulty, rest) == (True, True, b"")
