"""docs/configuration.md is what the settings say; the data directory's names are distinct."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from postroom.config.loading import load
from postroom.config.paths import DataDir
from postroom.config.reference import INTRODUCTION, main, reference
from postroom.config.settings import Listener, Settings
from postroom.config.spec import fields_of, walk

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_setting_is_on_the_page() -> None:
    page = reference()
    for path, _ in walk(Settings):
        assert f"POSTROOM_{'_'.join(path).upper()}`" in page
    for field in fields_of(Listener):
        assert f"### `{field.name}`" in page


def test_the_example_is_a_good_configuration(tmp_path: Path) -> None:
    example = INTRODUCTION.split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(example)
    path = tmp_path / "postroom.toml"
    path.write_text(example, encoding="utf-8")
    assert len(load(path, {}).listeners) == 3


def test_write_puts_the_page_into_a_file(tmp_path: Path) -> None:
    assert main(["--write", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference()
    assert main(["--nonsense"]) == 64


def test_the_data_directory_is_private_and_its_names_differ(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "deep" / "data")
    data.make()
    data.make()
    assert {each.stat().st_mode & 0o777 for each in data.directories()} == {0o700}
    names = [
        data.config,
        data.directory,
        data.shard(0),
        data.search(0),
        data.certificate,
        data.key,
        data.server_key,
        data.first_account,
        data.state,
        data.lock,
        data.lmtp_socket,
        data.control_socket,
        data.worker_socket(0),
        data.watch_socket(0),
    ]
    assert len(set(names)) == len(names)
    assert not data.too_long_for_sockets()
    assert DataDir(Path("/" + "x" * 100)).too_long_for_sockets()


def test_every_setting_is_read_somewhere() -> None:
    """A setting that nothing reads would be a promise that is not kept."""
    root = Path(__file__).parents[2] / "src" / "postroom"
    loader = (root / "config" / "loading.py", root / "config" / "logging.py")
    modules = [path for path in root.rglob("*.py") if path.parent.name != "config" or path in loader]
    text = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    unread = [".".join(path) for path, _ in walk(Settings) if not re.search(rf"\.{path[-1]}\b", text)]
    assert unread == []
