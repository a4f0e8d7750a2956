"""Real messages, damaged at random: still consistent, still the same in chunks. ``seed`` makes each run repeatable.

More of the same: POSTROOM_MUTATIONS sets how many per seed.
"""

from __future__ import annotations

import os
import random

import pytest

from postroom.mime import scanner as scanner_module
from postroom.mime.scanner import scan
from postroom.mime.structure import dump_structure, load_structure
from postroom.mime.text import fold, search_text
from tests.corpus import messages
from tests.mime.tree import check, scan_in, sliced

COUNT = int(os.environ.get("POSTROOM_MUTATIONS", "150"))
PIECES = (
    b"\r\n", b"\n", b"\r", b"--", b"--\r\n", b"\r\n\r\n", b"\n\n\r\n", b'"', b"(", b";", b"=", b"\xff", b"\0", b"\t", b" ", b"<",
    b"@", b",", b":", b"=?utf-8?q?", b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
)  # fmt: skip


def damage(chance: random.Random, octets: bytes, other: bytes) -> bytes:
    """A few random insertions, deletions, changes and copies."""
    text = bytearray(octets)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            text[at:at] = chance.choice(PIECES)
        elif kind == 1:
            del text[at : at + chance.choice((1, 2, 5, 50))]
        elif kind == 2 and at < len(text):
            text[at] = chance.randrange(256)
        elif kind == 3:
            start = chance.randrange(len(text) + 1)
            text[at:at] = text[start : start + chance.choice((3, 30, 300))]
        else:
            start = chance.randrange(len(other))
            text[at:at] = other[start : start + 500]
    return bytes(text)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_messages(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    pool = [
        octets for name, octets in messages()
        if 0 < len(octets) < 8000 and (b"oundary" in octets or not name.startswith("spamassassin"))
    ]  # fmt: skip
    if seed == 3:
        monkeypatch.setattr(scanner_module, "MAX_HEADERS", 900)
        monkeypatch.setattr(scanner_module, "MAX_PARTS", 5)
        monkeypatch.setattr(scanner_module, "MAX_DEPTH", 3)
    for _ in range(COUNT):
        octets = damage(chance, chance.choice(pool), chance.choice(pool))
        facts = scan(octets)
        check(octets, facts)
        step, block = chance.choice((3, 7, 64, 500)), chance.choice((1, 50, 1000))
        assert scan_in(sliced(octets, step), block) == facts
        assert load_structure(dump_structure(facts.root)) == facts.root
        assert fold(search_text(octets, facts.root)) == search_text(octets, facts.root)
