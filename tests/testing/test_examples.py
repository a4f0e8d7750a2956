"""The examples of docs/testing.md and docs/library.md do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.testing.test_plugin import run_pytest

DOCS = Path(__file__).parents[2] / "docs"
_FENCE = re.compile(r"^```python(?: (?P<kind>\w+))?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """``code`` with everything before it on its page that it goes on from, each line where it is on the page."""

    name: str
    code: str
    kind: str


def examples() -> list[Example]:
    found: list[Example] = []
    for page in ("library.md", "testing.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        so_far = ""
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start("code"))
            if match["kind"] != "continued":
                so_far = ""
            so_far += "\n" * (line - so_far.count("\n")) + match["code"]
            found.append(Example(f"{page}:{line}", so_far, match["kind"] or ""))
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example(example: Example, tmp_path: Path) -> None:
    if example.kind == "pytest":
        done = run_pytest(tmp_path, example.code)
        assert " passed" in done.stdout, done.stdout + done.stderr
        return
    scope: dict[str, Any] = {"__name__": "example"}
    exec(compile(example.code, f"docs/{example.name}", "exec", dont_inherit=True), scope)


def test_there_are_examples_of_everything() -> None:
    codes = "\n".join(example.code for example in examples())
    for name in (
        "SmtpServer", "SmtpClient", "Pop3Server", "Pop3Client", "ImapServer", "ImapClient",
        "ThreadedServer", "InProcessServer", "postroom_server",
    ):  # fmt: skip
        assert name in codes


def test_every_method_is_in_the_page() -> None:
    from postroom.testing import ThreadedServer

    page = (DOCS / "testing.md").read_text(encoding="utf-8")
    methods = {name for name in vars(ThreadedServer) if not name.startswith("_")}
    unnamed = {name for name in methods if not re.search(rf"\b{name}\b", page)}
    assert unnamed <= {"ports", "mailboxes"}


def test_the_engines_need_the_standard_library_alone() -> None:
    """As docs/library.md promises: no other package, no thread, no event loop, no socket."""
    code = (
        "import importlib, pkgutil, sys\n"
        "before = set(sys.modules)\n"
        "import postroom.wire\n"
        "for module in pkgutil.walk_packages(postroom.wire.__path__, 'postroom.wire.'):\n"
        "    importlib.import_module(module.name)\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(tops - set(sys.stdlib_module_names)), tops & {'asyncio', 'socket', 'ssl', 'threading', 'sqlite3'})\n"
        "print({name.split('.')[1] for name in sys.modules if name.startswith('postroom.')})\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(DOCS.parent / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    outside, packages = done.stdout.splitlines()
    assert outside == "['postroom'] set()"
    assert set(re.findall(r"\w+", packages)) <= {"wire", "mime", "model"}
