"""The scanner: structure, offsets, limits, and that chunking never matters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.mime import scanner as scanner_module
from postroom.mime.facts import Part
from postroom.mime.scanner import Scanner, scan
from postroom.mime.text import search_text
from tests.mime.tree import check, scan_in, shape, sliced


def text(octets: bytes, part: Part) -> bytes:
    return octets[part.body : part.end]


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b") -> bytes:
    head = b'Content-Type: multipart/%b; boundary="%b"\r\n\r\npreamble\r\n' % (kind, boundary)
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return head + body + b"--%b--\r\nepilogue\r\n" % boundary


def test_single_part() -> None:
    octets = b"Subject: x\r\n\r\none\r\ntwo\r\n"
    facts = scan(octets)
    check(octets, facts)
    assert facts.root == Part("text", "plain", 0, 14, 24, 2)
    assert not facts.truncated
    assert facts.subject == "x"


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_multipart_offsets(newline: bytes) -> None:
    octets = multipart(b"\r\nfirst", b"Content-Type: image/png\r\n\r\n\x89PNG\r\n").replace(b"\r\n", newline)
    facts = scan(octets)
    check(octets, facts)
    first, second = facts.root.children
    assert text(octets, first) == b"first"
    assert text(octets, second) == b"\x89PNG" + newline
    assert octets[second.header : second.body] == b"Content-Type: image/png" + newline * 2
    assert second.lines == 1
    assert first.lines == 0
    assert facts.root.end == len(octets)


def test_mixed_line_ends() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\r\n--b\n\none\n--b\r\n\r\ntwo\r\n--b--\n"
    facts = scan(octets)
    check(octets, facts)
    assert [text(octets, part) for part in facts.root.children] == [b"one", b"two"]


def test_blank_lines_of_both_kinds_in_a_row() -> None:
    octets = b"Subject: x\n\n\r\nbody"
    facts = scan(octets)
    assert facts.root.body == 12
    assert facts == scan_in(sliced(octets, 1), block=1)


def test_nested_and_embedded() -> None:
    inner = multipart(
        b"\r\nplain", b"Content-Type: text/html\r\n\r\n<p>", kind=b"alternative", boundary=b"in"
    )
    octets = multipart(
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + inner, b"\r\nlast", boundary=b"out"
    )
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == (
        "multipart/mixed",
        [("message/rfc822", [("multipart/alternative", ["text/plain", "text/html"])]), "text/plain"],
    )
    assert b'"inner"' in facts.bodystructure


def test_digest_parts_are_messages_by_default() -> None:
    octets = multipart(b"\r\nSubject: a\r\n\r\nx", b"Content-Type: text/plain\r\n\r\ny", kind=b"digest")
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == ("multipart/digest", [("message/rfc822", ["text/plain"]), "text/plain"])


def test_missing_end_boundaries() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\ninner\r\n--a\r\n\r\nouter"
    )
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == ("multipart/mixed", [("multipart/mixed", ["text/plain"]), "text/plain"])
    assert text(octets, facts.root.children[0].children[0]) == b"inner"
    assert text(octets, facts.root.children[1]) == b"outer"


def test_boundaries_that_begin_alike() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
        b"--bb\r\nContent-Type: multipart/mixed; boundary=bbb\r\n\r\n--bbb\r\n\r\nx\r\n--bbb--\r\n--bb\r\n\r\ny\r\n--bb--\r\n"
        b"--b\r\n\r\nz\r\n--bbbb\r\n--b--\r\n"
    )
    facts = scan(octets)
    check(octets, facts)
    leaf = "text/plain"
    assert shape(facts.root) == (
        "multipart/mixed",
        [("multipart/mixed", [("multipart/mixed", [leaf]), leaf]), leaf],
    )
    assert text(octets, facts.root.children[1]) == b"z\r\n--bbbb"


def test_same_boundary_inside() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny\r\n--b--\r\n"
    )
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == ("multipart/mixed", [("multipart/mixed", ["text/plain"]), "text/plain"])


def test_boundary_line_with_trailing_text() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b ignored\r\n\r\nx\r\n--b--  too\r\nend"
    facts = scan(octets)
    check(octets, facts)
    assert [text(octets, part) for part in facts.root.children] == [b"x"]


def test_boundary_that_ends_in_dashes() -> None:
    octets = multipart(b"\r\nx", b"\r\ny", boundary=b"b--")
    facts = scan(octets)
    check(octets, facts)
    assert [text(octets, part) for part in facts.root.children] == [b"x", b"y"]


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/mixed",
        b'multipart/mixed; boundary=""',
        b"text",
        b"/plain",
        b"te\x00xt/html",
        b"t\xe4xt/html",
        b"",
        b"multipart/mixed; boundary=" + b"x" * 1001,
    ],
)
def test_syntax_errors_mean_text_plain(content_type: bytes) -> None:
    octets = b"Content-Type: " + content_type + b"\r\n\r\n--x\r\n\r\nhello\r\n"
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == "text/plain"
    assert facts.preview == "--x hello"


def test_multipart_without_parts_is_text() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=never\r\n\r\nonly a preamble\r\n"
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == "text/plain"
    assert facts.preview == "only a preamble"


def test_preamble_is_not_searched() -> None:
    octets = multipart(b"\r\nbody")
    facts = scan(octets)
    text = search_text(octets, facts.root)
    assert "preamble" not in text
    assert "epilogue" not in text
    assert "body" in text
    assert facts.preview == "body"


def test_header_without_blank_line_ends_at_boundary() -> None:
    octets = multipart(b"Content-Type: text/html", b"\r\nx")
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == ("multipart/mixed", ["text/html", "text/plain"])
    assert text(octets, facts.root.children[0]) == b""


def test_part_without_header_is_body() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nno header here\r\nat all\r\n--b--\r\n"
    facts = scan(octets)
    check(octets, facts)
    assert text(octets, facts.root.children[0]) == b"no header here\r\nat all"


def test_own_boundary_in_a_header_without_blank_line() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=ab\r\n"
        b"MIME-Version: 1.0\r\n--ab\r\nContent-Type: text/html\r\n\r\nx\r\n--ab--\r\n--a--\r\n"
    )
    facts = scan(octets)
    check(octets, facts)
    assert shape(facts.root) == ("multipart/mixed", [("multipart/mixed", ["text/html"])])


def test_encoded_message_keeps_the_grammar() -> None:
    octets = multipart(
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0K"
    )
    facts = scan(octets)
    check(octets, facts)
    inner = facts.root.children[0].children[0]
    assert inner.header == inner.body
    assert text(octets, inner) == b"U3ViamVjdDogeA0K"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\r\n",
        b"\n",
        b"\r",
        b"x",
        b"Subject: x",
        b"Subject: x\r\n",
        b"\r\n\r\n",
        b"\x00",
        b":\r\n\r\n",
        b" a\r\n\r\nb",
    ],
)
def test_tiny_messages(octets: bytes) -> None:
    facts = scan(octets)
    check(octets, facts)
    assert facts == scan_in(sliced(octets, 1), block=1)


def test_mbox_separator_in_front() -> None:
    facts = scan(b"From a@example.org Tue Mar  5 12:00:00 2002\r\nSubject: x\r\n\r\nbody\r\n")
    assert facts.subject == "x"


def test_depth_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "MAX_DEPTH", 3)
    deep = multipart(
        multipart(multipart(b"\r\nx", boundary=b"c"), boundary=b"b"), b"\r\nbeside", boundary=b"a"
    )
    facts = scan(deep)
    check(deep, facts)
    assert facts.truncated
    assert shape(facts.root) == (
        "multipart/mixed",
        [("multipart/mixed", ["application/octet-stream"]), "text/plain"],
    )


def test_part_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "MAX_PARTS", 4)
    octets = multipart(*[b"\r\n%d" % number for number in range(9)])
    facts = scan(octets)
    check(octets, facts)
    assert facts.truncated
    assert len(facts.root.children) == 3
    assert facts.root.children[2].end == len(octets), "the rest is one opaque body"


def test_header_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "MAX_HEADERS", 200)
    octets = b"Subject: x\r\n" + b"X: y\r\n" * 100 + b"Content-Type: text/html\r\n\r\nbody\r\n"
    facts = scan(octets)
    check(octets, facts)
    assert facts.truncated
    assert facts.subject == "x"
    assert text(octets, facts.root) == b"body\r\n"
    assert facts == scan_in(sliced(octets, 7), block=1)


def test_header_limit_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "MAX_HEADERS", 120)
    octets = multipart(b"\r\nx", b"X: " + b"y" * 200 + b"\r\nContent-Type: text/html\r\n\r\nz", b"\r\nlost")
    facts = scan(octets)
    check(octets, facts)
    assert facts.truncated
    assert len(facts.root.children) == 2
    assert facts == scan_in(sliced(octets, 5), block=1)


def test_parameter_limit_is_reported() -> None:
    many = b"".join(b"; p%d=%d" % (n, n) for n in range(100))
    facts = scan(b"Content-Type: text/plain" + many + b"\r\n\r\nx")
    assert facts.truncated
    assert len(facts.root.params) == 64


def test_eight_bit_header_is_reported() -> None:
    assert scan(b"Subject: \xc3\xa4\r\n\r\nx").has_8bit_header
    assert not scan(b"Subject: a\r\n\r\n\xc3\xa4").has_8bit_header


def test_facts_of_a_reply() -> None:
    facts = scan(
        b"Date: Tue, 5 Mar 2002 23:30:00 -0500\r\nSubject: =?utf-8?Q?Re:_Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <c@x>\r\n"
        b"References: <a@x>\r\n <b@x>\r\nIn-Reply-To: <b@x>\r\n\r\nHello   there\r\n"
    )
    assert facts.sent == 1015389000
    assert facts.sent_day == 11751
    assert facts.message_id == "c@x"
    assert facts.references == ("a@x", "b@x")
    assert facts.subject == "Re: Grüße"
    assert facts.base_subject == "Grüße"
    assert facts.preview == "Hello there"


def test_finish_without_octets() -> None:
    facts = Scanner().finish()
    check(b"", facts)


# -- chunking -------------------------------------------------------------------------------------------------------

_LINES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=a", b"Content-Type: multipart/digest; boundary=ab",
        b'Content-Type: multipart/alternative;\r\n boundary="a b"', b"Content-Type: message/rfc822",
        b"Content-Type: text/html; charset=utf-8", b"Content-Transfer-Encoding: base64", b"Subject: =?utf-8?q?x?=",
        b"From: a@b", b"--a", b"--a--", b"--ab", b"--ab--", b"--a b", b"--a b--", b"--a  ", b"--a c", b"--", b"-", b"", b"",
        b"", b" folded", b"text", b"\xc3\xa4", b"--aa", b"\r", b"a:b",
    ]
)  # fmt: skip
_MESSAGES = st.lists(st.tuples(_LINES, st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"])), max_size=40).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@settings(max_examples=400, deadline=None)
@given(
    octets=_MESSAGES,
    cuts=st.lists(st.integers(0, 600), max_size=12),
    block=st.sampled_from([1, 2, 17, 65536]),
)
def test_chunking_never_matters(octets: bytes, cuts: list[int], block: int) -> None:
    whole = scan(octets)
    check(octets, whole)
    edges = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    chunks = [octets[a:b] for a, b in itertools.pairwise(edges)]
    assert scan_in(chunks, block) == whole
    assert scan_in(sliced(octets, 1), 1) == whole


@settings(max_examples=200, deadline=None)
@given(octets=st.binary(max_size=400))
def test_any_octets(octets: bytes) -> None:
    whole = scan(octets)
    check(octets, whole)
    assert scan_in(sliced(octets, 3), 1) == whole


@settings(max_examples=100, deadline=None)
@given(
    octets=_MESSAGES,
    limit=st.integers(0, 120),
    parts=st.integers(1, 5),
    depth=st.integers(1, 4),
    step=st.integers(1, 9),
)
def test_limits_and_chunking(octets: bytes, limit: int, parts: int, depth: int, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner_module, "MAX_HEADERS", limit)
        patch.setattr(scanner_module, "MAX_PARTS", parts)
        patch.setattr(scanner_module, "MAX_DEPTH", depth)
        whole = scan(octets)
        check(octets, whole)
        assert scan_in(sliced(octets, step), 1) == whole
