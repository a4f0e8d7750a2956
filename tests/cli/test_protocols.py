"""docs/protocols.md and README.md say what the registries of the protocols say."""

from __future__ import annotations

from pathlib import Path

from postroom.cli.protocols import extensions, main, reference

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_the_readme_names_every_extension() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| ")]
    missing = {
        f"{protocol}: {name}"
        for protocol, names in extensions().items()
        for name in names
        if not any(name in row for row in rows)
    }
    # Said in other words there, or belonging to the base protocol.
    base = {"pop3: STLS", "pop3: USER", "pop3: EXPIRE", "pop3: IMPLEMENTATION", "smtp: HELP"}
    assert missing <= base


def test_write_puts_the_page_into_a_file(tmp_path: Path) -> None:
    assert main(["--write", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference()
    assert main(["--nonsense"]) == 64
