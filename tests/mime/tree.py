"""What must be true of every scanned message, and a few ways to look at a tree."""

from __future__ import annotations

from collections.abc import Iterator

from postroom.mime.facts import Facts, Part
from postroom.mime.scanner import Scanner
from tests.mime.imapvalue import check_body, check_envelope, parse

Shape = str | tuple[str, list["Shape"]]


def walk(root: Part) -> Iterator[tuple[Part, int]]:
    """Parts with their depth, in order of appearance."""
    stack = [(root, 1)]
    while stack:
        part, depth = stack.pop()
        yield part, depth
        stack += [(child, depth + 1) for child in reversed(part.children)]


def shape(part: Part) -> Shape:
    """Types as nested tuples. For small trees: it recurses."""
    name = f"{part.type}/{part.subtype}"
    return (name, [shape(child) for child in part.children]) if part.children else name


def check(octets: bytes, facts: Facts) -> None:
    """Offsets are consistent, containers are never empty, the rendered values are well formed and of the same tree."""
    assert facts.size == len(octets)
    root = facts.root
    assert (root.header, root.end) == (0, len(octets))
    types = []
    for part, _ in walk(root):
        assert 0 <= part.header <= part.body <= part.end <= len(octets)
        assert part.lines == octets.count(b"\n", part.body, part.end)
        types.append(f"{part.type}/{part.subtype}")
        before = part.body
        for child in part.children:
            assert before <= child.header
            assert child.end <= part.end
            before = child.end
        if part.type == "multipart":
            assert part.children
        elif part.type == "message" and part.subtype == "rfc822":
            assert len(part.children) == 1
            assert part.children[0].header == part.body
        else:
            assert not part.children
    assert len(facts.envelope) <= 1 << 20
    assert len(facts.bodystructure) <= 1 << 20
    check_envelope(parse(facts.envelope))
    for value, extended in ((facts.body_fields, False), (facts.bodystructure, True)):
        rendered = check_body(parse(value), extended)
        assert len(rendered) == len(types)
        for shown, real in zip(rendered, types, strict=True):
            assert shown == real or max(map(len, real.split("/"))) > 20, "only long names may be replaced"


def scan_in(chunks: list[bytes], block: int = 1 << 16) -> Facts:
    """Facts of a message that comes in these chunks."""
    scanner = Scanner(block=block)
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner.finish()


def sliced(octets: bytes, step: int) -> list[bytes]:
    """Octets in chunks of ``step``."""
    return [octets[at : at + step] for at in range(0, len(octets), step)]
