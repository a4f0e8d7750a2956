"""MIME bombs: each hostile message is scanned completely, within limits, with work in proportion to its size.

Work is compared with the same bomb at half the size: linear work doubles, quadratic work quadruples. The bound of three
and a half, with the best of several runs, tells these apart on a busy machine too. What is bounded by a limit must not
grow at all beyond it.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable

import pytest

from postroom.mime.facts import Facts
from postroom.mime.scanner import MAX_DEPTH, MAX_PARTS, scan
from postroom.mime.structure import dump_structure, find_part, load_structure
from postroom.mime.text import body_text, search_text
from tests.mime.tree import check, scan_in, sliced, walk


def nested_multiparts(count: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(count)
    )


def nested_same_boundary(count: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * count


def nested_messages(count: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * count


def nested_comments(count: int) -> bytes:
    return (
        b"From: a "
        + b"(" * count
        + b" b@c\r\nDate: "
        + b"(" * count
        + b"\r\nContent-Type: "
        + b"(" * count
        + b"\r\n\r\nx"
    )


def escaped_comments(count: int) -> bytes:
    return b"From: a " + b"(\\(" * count + b" b@c\r\n\r\nx"


def many_to_fields(count: int) -> bytes:
    return b"To: user@example.org\r\n" * count + b"\r\nx"


def one_long_to(count: int) -> bytes:
    return b"To: " + b"user@example.org,\r\n " * count + b"last@example.org\r\n\r\nx"


def odd_to(count: int) -> bytes:
    return b"To: " + b'"a" (c) b <u@[1.2.3.4]>,\r\n ' * count + b"last@example.org\r\n\r\nx"


def at_signs(count: int) -> bytes:
    return b"From: " + b"a@" * count + b"\r\nTo: " + b"<" * count + b"\r\nCc: " + b"@," * count + b"\r\n\r\nx"


def spaces(count: int) -> bytes:
    return (
        b"From:"
        + b" " * count
        + b"x y\r\nDate:"
        + b" " * count
        + b"1\r\nContent-Type: a"
        + b" " * count
        + b"b\r\n\r\nx"
    )


def continuations(count: int) -> bytes:
    return b"Content-Type: text/plain" + b"".join(b"; a*%d=x" % n for n in range(count)) + b"\r\n\r\nx"


def semicolons(count: int) -> bytes:
    return (
        b"Content-Type: text/plain"
        + b";" * count
        + b"\r\nContent-Disposition: "
        + b"; a" * count
        + b"\r\n\r\nx"
    )


def boundary_prefixes(count: int) -> bytes:
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n" % (b"b" * n, b"b" * n)
        for n in range(1, 60)
    )
    return head + b"\r\n" + (b"--" + b"b" * 80 + b"\r\n") * count


def dashes(count: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\n" + b"--\r\n" * count


def near_misses(count: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\n" + b"--abcd\r\n" * count


def missing_ends(count: int) -> bytes:
    part = b"--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
    return b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + part * count


def encoded_words(count: int) -> bytes:
    return b"Subject: " + b"=?utf-8?Q?a?=\r\n " * count + b"\r\n\r\nx"


def broken_words(count: int) -> bytes:
    return b"Subject: " + b"=?" * count + b"\r\nTo: " + b"=?a?b?" * count + b"\r\n\r\nx"


def empty_parts(count: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * count


def small_fields(count: int) -> bytes:
    return b"X:\r\n" * count + b"\r\nx"


def folds(count: int) -> bytes:
    return b"Subject: a\r\n" + b" b\r\n" * count + b"\r\nx"


def subject_leaders(count: int) -> bytes:
    return b"Subject: " + b"[a]re:" * count + b"[b]" * count + b"(fwd)" * count + b"\r\n\r\nx"


def message_ids(count: int) -> bytes:
    return b"Message-ID: " + b"<" * count + b"\r\nReferences: " + b"<a@b> " * count + b"\r\n\r\nx"


def html(count: int) -> bytes:
    return (
        b"Content-Type: text/html\r\n\r\n" + b"<" * count + b"<script>" * count + b"&#" + b"1" * count + b";"
    )


def escapes(count: int) -> bytes:
    return (
        b'From: "'
        + b"\\a" * count
        + b'" <a@b>\r\nContent-Type: text/plain; a="'
        + b"\\a" * count
        + b'"\r\n\r\nx'
    )


def combining(count: int) -> bytes:
    marks = "\u0300\u0316" * count
    return b"Content-Type: text/plain; charset=utf-8\r\n\r\na" + marks.encode()


def one_line(count: int) -> bytes:
    return b"Subject: x\r\n\r\n" + b"y" * count


BOMBS: dict[str, tuple[Callable[[int], bytes], int]] = {
    function.__name__: (function, count)
    for function, count in (
        (nested_multiparts, 10_000),
        (nested_same_boundary, 10_000),
        (nested_messages, 10_000),
        (nested_comments, 200_000),
        (escaped_comments, 200_000),
        (many_to_fields, 500_000),
        (one_long_to, 20_000),
        (odd_to, 20_000),
        (at_signs, 100_000),
        (spaces, 300_000),
        (continuations, 100_000),
        (semicolons, 100_000),
        (boundary_prefixes, 5_000),
        (dashes, 200_000),
        (near_misses, 100_000),
        (missing_ends, 5_000),
        (encoded_words, 20_000),
        (broken_words, 100_000),
        (empty_parts, 100_000),
        (small_fields, 200_000),
        (folds, 200_000),
        (subject_leaders, 50_000),
        (message_ids, 100_000),
        (html, 100_000),
        (escapes, 100_000),
        (combining, 100_000),
        (one_line, 5_000_000),
    )
}


def seconds(octets: bytes) -> float:
    best = 1e9
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            start = time.process_time()
            scan(octets)
            best = min(best, time.process_time() - start)
    finally:
        gc.enable()
    return best


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_scanned_within_limits(name: str) -> None:
    make, count = BOMBS[name]
    octets = make(count)
    facts = scan(octets)
    check(octets, facts)
    parts = list(walk(facts.root))
    assert len(parts) <= MAX_PARTS
    assert max(depth for _, depth in parts) <= MAX_DEPTH
    assert load_structure(dump_structure(facts.root)) == facts.root


@pytest.mark.parametrize("name", BOMBS)
def test_work_is_linear(name: str) -> None:
    make, count = BOMBS[name]
    half, whole = make(count // 2), make(count)
    spent = twice = 0.0
    for _ in range(4):  # a busy machine gets more chances; quadratic work uses none of them
        spent, twice = seconds(half), seconds(whole)
        if twice <= spent * 3.5 + 0.005:
            return
    pytest.fail(f"{name}: {spent:.4f} s for half of it, {twice:.4f} s for all")


@pytest.mark.parametrize(
    "name", ["nested_multiparts", "empty_parts", "missing_ends", "boundary_prefixes", "many_to_fields"]
)
def test_chunked_bomb(name: str) -> None:
    make, count = BOMBS[name]
    octets = make(count // 5)
    assert scan_in(sliced(octets, 4096), block=4096) == scan(octets)


def peak(octets: bytes) -> int:
    tracemalloc.start()
    try:
        scan_in(sliced(octets, 65536))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_a_large_body_is_bounded() -> None:
    small, large = b"Subject: x\r\n\r\n" + b"y" * 2_000_000, b"Subject: x\r\n\r\n" + b"y" * 16_000_000
    # the slices themselves are the test's; what the scanner adds does not grow
    assert peak(large) - len(large) < peak(small) - len(small) + 500_000


def test_memory_of_a_header_is_bounded() -> None:
    octets = many_to_fields(300_000)
    assert peak(octets) < 10 * len(octets)


def test_truncation_is_said() -> None:
    for name in (
        "nested_multiparts",
        "nested_messages",
        "empty_parts",
        "many_to_fields",
        "continuations",
        "one_long_to",
    ):
        make, count = BOMBS[name]
        assert scan(make(count)).truncated, name


def test_the_rest_behind_the_limit_is_one_body() -> None:
    octets = empty_parts(100_000)
    facts = scan(octets)
    last = find_part(facts.root, (MAX_PARTS - 1,))
    assert last is not None
    assert last.end == len(octets)
    assert find_part(facts.root, (MAX_PARTS,)) is None


def test_text_of_deep_messages() -> None:
    octets = nested_messages(5_000) + b"Subject: deep\r\n\r\nbottom"
    facts: Facts = scan(octets)
    assert "message/rfc822" in search_text(octets, facts.root)
    assert "message/rfc822" in body_text(octets, facts.root)
