"""The count of demands, on a standard of our own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.citations import TEXTS, citations, demands_of, main, report

STANDARD = """
1.  Introduction

   The key words "MUST", "MUST NOT" and "SHOULD" are to be interpreted as in RFC 2119.

2.  Rules ............................................ 3

2.  Rules

   A server MUST answer.  It MUST NOT be late, and must be kind.

Author                     Standards Track                    [Page 1]

RFC 9999                     A Standard                     March 2003

2.1.  More

   An answer is REQUIRED.  It SHOULD be short.

3.  Others

   Clients SHALL wait.
"""


def test_demands_are_counted_by_section() -> None:
    assert demands_of(STANDARD) == {"2": 2, "2.1": 1, "3": 1}


def test_citations_cover_parts_and_wholes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""RFC 9999 §2, RFC 9999 §2.1.4, RFC 1 §3."""', encoding="utf-8")
    found = citations([tmp_path / "a.py"])
    assert found[9999] == Counter({"2": 1, "2.1.4": 1})
    rows = {row.section: row for row in report(9999, STANDARD, found, citations([]))}
    assert [(rows[key].in_code, rows[key].in_transcripts) for key in ("2", "2.1", "3")] == [
        (2, 0),
        (2, 0),
        (0, 0),
    ]


def test_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rfc3501.txt").write_text(STANDARD.replace("2.1.", "7.4.1."), encoding="utf-8")
    assert main(["3501", "--missing", "--texts", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["3501", "4"]
    assert main(["--texts", str(tmp_path / "none")]) == 66


@pytest.mark.skipif(not TEXTS.is_dir(), reason="the texts of the standards are not here")
def test_the_standards_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["7162", "1939"]) == 0
    for line in capsys.readouterr().out.splitlines()[1:]:
        _, demands, code, transcripts = map(int, line.split())
        assert 0 < transcripts <= demands
        assert 0 < code <= demands
