"""What the standards demand, and where code and transcripts say that they keep it: ``make musts``.

Purpose: for each section of a standard's text the number of its demands (MUST, MUST NOT, REQUIRED, SHALL, SHALL NOT as
RFC 2119 has them, in capitals) beside the citations of that section (``RFC 9051 §6.4.5``) in ``src`` and in transcripts. A
section counts as covered when it, or a section it is part of, is cited. A tool for finding what was forgotten; a citation is no
proof by itself.

It needs the texts of the standards (``rfcNNNN.txt`` in a folder), which are not part of the project.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TEXTS: Final = ROOT.parent / "shared" / "rfc"
_CITED: Final = re.compile(r"RFC (\d{3,5}) §([0-9]+(?:\.[0-9]+)*)")
_HEADING: Final = re.compile(r"^(\d+(?:\.\d+)*)\.? +[A-Z\"].*$")
_DEMAND: Final = re.compile(r"\b(?:MUST(?: NOT)?|REQUIRED|SHALL(?: NOT)?)\b")
_KEY_WORDS: Final = re.compile(r"The key words? .*?(?:\.\n\n|\Z)", re.DOTALL)
_FURNITURE: Final = re.compile(r"^\S.*\[Page \d+\]$|^RFC \d+ .* \d{4}$|\f")
_IN_CONTENTS: Final = re.compile(r"(?:\. ?){3,}\s*\d+$")

Citations = dict[int, Counter[str]]
"""By number of the RFC: how often each section is cited."""


@dataclass(slots=True, frozen=True)
class SectionReport:
    """One section: its demands, and how often it or a part of it is cited."""

    rfc: int
    section: str
    demands: int
    in_code: int
    in_transcripts: int


def demands_of(text: str) -> dict[str, int]:
    """The demands in each section of a standard's text, in order; sections without any are left out."""
    found: dict[str, int] = {}
    for section, body in _sections(text):
        number = len(_DEMAND.findall(_KEY_WORDS.sub("", body)))
        if number:
            found[section] = found.get(section, 0) + number
    return found


def _sections(text: str) -> Iterator[tuple[str, str]]:
    current = ""
    lines: list[str] = []
    for line in text.splitlines():
        if _FURNITURE.search(line):
            continue
        heading = _HEADING.match(line)
        if heading is not None and _IN_CONTENTS.search(line) is None:
            if current:
                yield current, "\n".join(lines)
            current, lines = heading[1], []
        else:
            lines.append(line)
    if current:
        yield current, "\n".join(lines)


def citations(files: Iterable[Path]) -> Citations:
    """All citations in these files."""
    found: Citations = defaultdict(Counter)
    for file in files:
        for number, section in _CITED.findall(file.read_text(encoding="utf-8", errors="replace")):
            found[int(number)][section] += 1
    return found


def report(rfc: int, text: str, code: Citations, transcripts: Citations) -> list[SectionReport]:
    """Every section of a standard that demands something."""
    return [
        SectionReport(rfc, section, demands, _about(code[rfc], section), _about(transcripts[rfc], section))
        for section, demands in demands_of(text).items()
    ]


def _about(cited: Counter[str], section: str) -> int:
    """Citations of a section, of its parts, and of the sections that it is part of."""
    return sum(
        number
        for other, number in cited.items()
        if other == section or other.startswith(section + ".") or section.startswith(other + ".")
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main(arguments: list[str]) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "rfc", nargs="*", type=int, help="numbers; all whose text is at hand and that transcripts cite"
    )
    parser.add_argument("--texts", type=Path, default=TEXTS, help="folder with rfcNNNN.txt")
    parser.add_argument("--missing", action="store_true", help="list the sections that no transcript cites")
    chosen = parser.parse_args(arguments)
    if not chosen.texts.is_dir():
        sys.stderr.write(f"No texts of standards in {chosen.texts}\n")
        return 66
    code = citations((ROOT / "src").rglob("*.py"))
    transcripts = citations((ROOT / "tests" / "transcripts").rglob("*.txt"))
    _say(f"{'RFC':>6} {'demands':>8} {'code':>6} {'transcripts':>12}")
    for rfc in chosen.rfc or sorted(transcripts):
        file = chosen.texts / f"rfc{rfc:04}.txt"
        if not file.is_file():
            continue
        rows = report(rfc, file.read_text(encoding="utf-8", errors="replace"), code, transcripts)
        in_code = sum(row.demands for row in rows if row.in_code)
        shown = sum(row.demands for row in rows if row.in_transcripts)
        _say(f"{rfc:>6} {sum(row.demands for row in rows):>8} {in_code:>6} {shown:>12}")
        if chosen.missing:
            for row in rows:
                if not row.in_transcripts:
                    where = "code" if row.in_code else "nowhere"
                    _say(f"{'':>6} {row.demands:>8}  §{row.section} ({where})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
