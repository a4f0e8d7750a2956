"""The project's own habits, checked: locks, links, citations, the conditions under which a skip fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.live import OFFSETS, free_base_port

ROOT = Path(__file__).parents[1]
TEXTS = (".py", ".md", ".toml", ".lock", ".service", ".sql", ".yaml", ".yml", ".txt")


def files() -> list[Path]:
    """Every text file of the project, whether or not git is there."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for part in ("src", "tests", "bench", "docs", "contrib", ".ci"):
        found += [path for path in (ROOT / part).rglob("*") if path.is_file()]
    return [path for path in found if path.suffix in TEXTS or path.name in {"Makefile", "run"}]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ \\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"])
def test_locks_name_hashes_and_no_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    packages = locked(name)
    assert packages
    blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_locks_agree() -> None:
    run, dev, build = (
        locked(name) for name in ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
    )
    assert run.items() <= dev.items()
    for name in build.keys() & dev.keys():
        assert build[name] == dev[name], name


def test_every_dependency_is_locked_and_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for lock, names in (
        ("requirements.lock", project["project"]["dependencies"]),
        ("requirements-dev.lock", project["dependency-groups"]["dev"]),
        ("requirements-build.lock", project["build-system"]["requires"]),
    ):
        for requirement in names:
            name = re.split(r"[^A-Za-z0-9-]", requirement)[0].lower()
            assert name in locked(lock)
            assert re.search(rf"\b{name}\b", page), f"docs/dependencies.md does not say why there is {name}"


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_citations_have_one_form() -> None:
    """``RFC 9051 §6.4.5``: so that a search for a section finds every place."""
    wrong = re.compile(r"\bRFC(?!822)\d{3,4}\b|\brfc \d|\bRFC \d+,? +(?:[Ss]ec(?:tion|\.)|§ )|\bRFC-\d")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if wrong.search(line)
    ]
    assert found == []


def test_no_machine_is_named() -> None:
    """Nothing in the tree depends on where it was made."""
    home = re.compile(r"(?<![\w.])/(?:work|home/[a-z]+)/")
    found = [
        str(path.relative_to(ROOT))
        for path in files()
        if path != Path(__file__) and home.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    import ast

    missing = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert missing == []


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed"), ("", "1 skipped")])
def test_a_skip_is_a_failure_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_it():\n    pytest.skip('no such client')\n\n"
        "@pytest.mark.xfail(reason='known', strict=True)\ndef test_known():\n    assert False\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-q",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
    )
    assert outcome in done.stdout
    assert "1 xfailed" in done.stdout
    assert "no such client" in done.stdout or not ci
    assert (done.returncode == 0) is not bool(ci)


def test_servers_of_tests_never_meet() -> None:
    """A server that a test has killed must find its ports free when it starts again."""
    bases = [free_base_port() for _ in range(40)]
    assert len({base + offset for base in bases for offset in OFFSETS.values()}) == 40 * len(OFFSETS)
