"""Transfer encodings undone in pieces equal the whole undone at once."""

from __future__ import annotations

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.transfer import decoder


def undone(encoding: str, pieces: list[bytes]) -> bytes:
    found = decoder(encoding)
    assert found is not None
    return b"".join([found.feed(piece) for piece in pieces]) + found.finish()


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(octets) + 1) for place in places)
    return [octets[low:high] for low, high in zip([0, *ends], [*ends, len(octets)], strict=True)]


places = st.lists(st.integers(0, 10_000), max_size=8)


@given(st.binary(max_size=500), places)
def test_base64(content: bytes, where: list[int]) -> None:
    assert undone("base64", cut(base64.encodebytes(content), where)) == content
    assert undone("base64", cut(base64.b64encode(content).rstrip(b"="), where)) == content


@given(st.binary(max_size=500), places)
def test_quoted_printable(content: bytes, where: list[int]) -> None:
    encoded = quopri.encodestring(content, quotetabs=True)
    assert undone("quoted-printable", cut(encoded, where)) == binascii.a2b_qp(encoded) == content


@given(st.binary(max_size=300), places, st.sampled_from(["7bit", "8bit", "binary", ""]))
def test_no_encoding(content: bytes, where: list[int], encoding: str) -> None:
    assert undone(encoding, cut(content, where)) == content


@given(st.binary(max_size=300), places, st.sampled_from(["base64", "quoted-printable"]))
def test_pieces_do_not_matter_for_anything(octets: bytes, where: list[int], encoding: str) -> None:
    assert undone(encoding, cut(octets, where)) == undone(encoding, [octets])


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"aGVs bG8=\r\n", b"hello"),
        (b"aGVsbG8=trailer", b"hello"),
        (b"aGVsbG8*", b"hello"),
        (b"a", b""),
        (b"====", b""),
    ],
)
def test_damaged_base64(octets: bytes, expected: bytes) -> None:
    assert undone("base64", [octets]) == expected


def test_a_line_without_end_is_not_kept_whole() -> None:
    encoded = b"=41" * 100_000
    found = decoder("quoted-printable")
    assert found is not None
    written = 0
    for at in range(0, len(encoded), 10_000):
        written += len(found.feed(encoded[at : at + 10_000]))
        assert at // 3 - written < 40_000
    assert written + len(found.finish()) == 100_000


def test_an_unknown_encoding() -> None:
    assert decoder("x-uuencode") is None
