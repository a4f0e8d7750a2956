"""Every real message at hand: scanned, consistent, the same in chunks, and checked against the standard library's parser.

Where the two disagree the reason stands here; a disagreement without a reason fails.
"""

from __future__ import annotations

import email
import email.message
from typing import Final

import pytest
from imapclient.response_parser import parse_fetch_response
from imapclient.response_types import Envelope

from postroom.mime.facts import Facts, Part
from postroom.mime.scanner import scan
from postroom.mime.structure import dump_structure, find_part, load_structure, section_range
from postroom.mime.text import body_text, fold, header_text, search_text
from tests.corpus import messages, shared
from tests.mime.tree import Shape, check, scan_in, shape, sliced, walk

SAME_BOUNDARY: Final = (
    "a multipart inside another of the same boundary: ours opens the inner one, email never does"
)
NO_PARTS: Final = "no boundary, or none that is ever met: RFC 2045 §5.2 text/plain, which people can read; email keeps the type"
DOUBLED: Final = "two boundary lines with nothing between them: an empty part for us, nothing for email"
OUTER_CLOSES: Final = "the inner multipart never starts: NO_PARTS for the inner one"
FOLDED: Final = "the boundary is folded in the header (RFC 2045 §5.1): email keeps the line end in it"
TRAILING: Final = "text behind the boundary in its line (RFC 2046 §5.1.1 note): email wants the whole line"
FORGIVEN: Final = "a semicolon or a blank line is missing: ours goes on, email stops"
HEADER_LINE: Final = "a line that is no field: only a blank line ends our header (RFC 5322 §2.1)"
TOO_LONG: Final = "a boundary of more than MAX_BOUNDARY octets"
ASTRAY: Final = "the boundary in the body is not the one in the header: NO_PARTS"

EXCEPTIONS: Final[dict[str, str]] = {
    "cpython/msg_15.txt": SAME_BOUNDARY,
    "cpython/msg_17.txt": NO_PARTS,
    "cpython/msg_25.txt": NO_PARTS,
    "cpython/msg_31.txt": NO_PARTS,
    "cpython/msg_37.txt": DOUBLED,
    "cpython/msg_39.txt": SAME_BOUNDARY,
    "cpython/msg_41.txt": NO_PARTS,
    "cpython/msg_42.txt": OUTER_CLOSES,
    "mail-parser/malformed/000.eml": DOUBLED,
    "mail-parser/malformed/001.eml": OUTER_CLOSES,
    "mail-parser/malformed/002.eml": NO_PARTS,
    "mail-parser/malformed/003.eml": FORGIVEN,
    "mail-parser/malformed/004.eml": NO_PARTS,
    "mail-parser/malformed/005.eml": SAME_BOUNDARY,
    "mail-parser/malformed/013.eml": SAME_BOUNDARY,
    "mail-parser/malformed/017.eml": FORGIVEN,
    "mail-parser/malformed/019.eml": HEADER_LINE,
    "mail-parser/thirdparty/012.eml": FOLDED,
    "mail-parser/thirdparty/015.eml": OUTER_CLOSES,
    "mime4j/2002_06_12_doublebound.msg": DOUBLED,
    "mime4j/badbound.msg": NO_PARTS,
    "mime4j/double-bound.msg": DOUBLED,
    "mime4j/ending-boundaries.msg": TRAILING,
    "mime4j/missing-boundary.msg": NO_PARTS,
    "mime4j/missing-inner-boundary.msg": OUTER_CLOSES,
    "mime4j/missing-inner-start-boundary.msg": OUTER_CLOSES,
    "mime4j/multi-badnames.msg": FOLDED,
    "mime4j/multi-clen.msg": FOLDED,
    "mime4j/multi-digest.msg": FOLDED,
    "mime4j/multi-simple.msg": FOLDED,
    "mime4j/multipartnopart.msg": NO_PARTS,
    "mime4j/very-very-long-boundary.msg": TOO_LONG,
    "spamassassin/spam-2/01214.973b4598b630a989967ff69b19f95d4a.eml": ASTRAY,
}

_FACTS: dict[str, Facts] = {}


def facts_of(name: str, octets: bytes) -> Facts:
    """Scanned once for all tests here."""
    found = _FACTS.get(name)
    if found is None:
        found = _FACTS[name] = scan(octets)
    return found


def oracle_shape(message: email.message.Message) -> Shape:
    kind = message.get_content_type()
    payload = message.get_payload()
    if isinstance(payload, list) and (kind.startswith("multipart/") or kind == "message/rfc822"):
        inner = payload[:1] if kind == "message/rfc822" else payload
        return kind, [oracle_shape(part) for part in inner if isinstance(part, email.message.Message)]
    return kind


def test_the_corpus_is_there_in_full() -> None:
    found = messages()
    assert len(found) >= (2300 if shared() else 6)
    assert len({name for name, _ in found}) == len(found)
    for name, octets in found:
        assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r"), name
        if name.startswith("spamassassin/"):
            assert not octets.startswith(b"From "), name


def test_every_message_is_consistent() -> None:
    for name, octets in messages():
        try:
            check(octets, facts_of(name, octets))
        except (AssertionError, ValueError) as error:
            raise AssertionError(name) from error


def test_structure_agrees_with_the_standard_library() -> None:
    met = set()
    for name, octets in messages():
        expected = oracle_shape(email.message_from_string(octets.decode("latin-1")))
        ours = shape(facts_of(name, octets).root)
        if ours != expected:
            assert name in EXCEPTIONS, f"{name}:\n{ours}\n{expected}"
            met.add(name)
    if shared():
        assert met == set(EXCEPTIONS), "an exception that is none any more"


def _leaves(message: email.message.Message) -> list[str]:
    return [str(part.get_payload()) for part in message.walk() if not isinstance(part.get_payload(), list)]


def test_bodies_agree_with_the_standard_library() -> None:
    """The octets at our offsets are what email takes for the body."""
    compared = 0
    for name, octets in messages():
        if name in EXCEPTIONS:
            continue
        root = facts_of(name, octets).root
        if any(part.type == "message" for part, _ in walk(root)):
            continue  # email reads message/* into objects of its own
        ours = [octets[part.body : part.end] for part, _ in walk(root) if not part.children]
        theirs = [
            text.encode("latin-1") for text in _leaves(email.message_from_string(octets.decode("latin-1")))
        ]
        assert len(ours) == len(theirs), name
        if any(
            defect
            for part in email.message_from_string(octets.decode("latin-1")).walk()
            for defect in part.defects
        ):
            continue
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.rstrip(b"\r\n") == other.rstrip(b"\r\n"), name
            compared += 1
    assert compared >= (2000 if shared() else 4)


def test_a_client_library_reads_envelopes_and_structures() -> None:
    for name, octets in messages():
        facts = facts_of(name, octets)
        line = b"1 (ENVELOPE %b BODYSTRUCTURE %b)" % (facts.envelope, facts.bodystructure)
        item = parse_fetch_response([line])[1]
        assert isinstance(item[b"ENVELOPE"], Envelope), name
        assert item[b"BODYSTRUCTURE"].is_multipart == (facts.root.type == "multipart"), name


def test_every_part_is_found_by_its_number() -> None:
    for name, octets in messages():
        root = facts_of(name, octets).root
        if root.type != "multipart":
            assert find_part(root, (1,)) is root, name
            assert section_range(root, (1,)) == (root.body, root.end), name
        numbered: list[tuple[Part, tuple[int, ...]]] = [(root, ())]
        while numbered:
            part, path = numbered.pop()
            if part.type == "multipart":
                children = [(child, (*path, number)) for number, child in enumerate(part.children, 1)]
            elif part.children and path:
                inner = part.children[0]
                assert section_range(root, path, "HEADER") == (inner.header, inner.body), name
                assert section_range(root, path, "TEXT") == (inner.body, inner.end), name
                step = inner.children if inner.type == "multipart" else [inner]
                children = [(child, (*path, number)) for number, child in enumerate(step, 1)]
                if inner.type == "message":
                    children = []  # a message whose body is a message: test_structure has it
            else:
                children = []
            for child, where in children:
                assert find_part(root, where) is child, (name, where)
                assert section_range(root, where) == (child.body, child.end), (name, where)
                assert section_range(root, where, "MIME") == (child.header, child.body), (name, where)
            numbered += children


def test_structures_survive_storage() -> None:
    for name, octets in messages():
        root = facts_of(name, octets).root
        assert load_structure(dump_structure(root)) == root, name


def test_search_text_is_what_verification_sees() -> None:
    for name, octets in messages():
        facts = facts_of(name, octets)
        full = search_text(octets, facts.root)
        assert body_text(octets, facts.root) in full, name
        assert full == fold(full), name
        assert len(facts.preview) <= 200, name


def test_subjects_are_found_in_the_header() -> None:
    for name, octets in messages():
        facts = facts_of(name, octets)
        if facts.subject:
            found = header_text(octets[: facts.root.body], "Subject")
            assert found is not None, name
            assert fold(facts.subject) in found, name


@pytest.mark.parametrize("step", [1, 61, 1024])
def test_chunks_give_the_same_facts(step: int) -> None:
    for name, octets in messages()[:: 29 if step == 1 else 7]:
        if len(octets) <= 20_000 or step > 1:
            assert scan_in(sliced(octets, step), block=step) == facts_of(name, octets), name


def test_bare_line_feeds_give_the_same_structure() -> None:
    """APPEND and imports bring LF: the tree and what is rendered but sizes are the same."""
    for name, octets in messages()[::5]:
        if name == "mime4j/2002_06_12_doublebound.msg":
            continue
        bare = octets.replace(b"\r\n", b"\n")
        facts = scan(bare)
        check(bare, facts)
        assert shape(facts.root) == shape(facts_of(name, octets).root), name
        assert facts.envelope == facts_of(name, octets).envelope, name
