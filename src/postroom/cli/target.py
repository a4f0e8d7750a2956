"""Which postroom a command works on: the configuration, from the options all commands share.

Invariants: a command that changes something never guesses: without a configuration in one of the named places it asks for
one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postroom.cli.exits import Exit, Failed
from postroom.cli.ownership import become_owner
from postroom.config.loading import load
from postroom.config.paths import CONFIG_NAME, DataDir
from postroom.config.settings import Settings

CONFIG_VARIABLE: Final = "POSTROOM_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/postroom/postroom.toml")
PLACES: Final = (Path(CONFIG_NAME), Path("data") / CONFIG_NAME, SYSTEM_CONFIG)
"""Where a configuration is looked for when none is named."""


@dataclass(slots=True, frozen=True)
class Target:
    """The shared options as given."""

    config: Path | None = None
    data_dir: Path | None = None

    def config_file(self) -> Path | None:
        """The configuration file that is meant, None when there is none."""
        if self.config is not None:
            return self.config
        if self.data_dir is not None:
            inside = self.data_dir / CONFIG_NAME
            return inside if inside.exists() else None
        if CONFIG_VARIABLE in os.environ:
            return Path(os.environ[CONFIG_VARIABLE])
        return next((place for place in PLACES if place.exists()), None)

    def settings(self, overrides: Mapping[str, str] | None = None) -> Settings:
        """The settings in effect; ``overrides`` are as environment variables and win. Raises ConfigErrors, Failed."""
        file = self.config_file()
        environment = {**os.environ, **(overrides or {})}
        if self.data_dir is not None:
            environment["POSTROOM_DATA_DIR"] = str(self.data_dir.absolute())
        if file is None and "POSTROOM_DATA_DIR" not in environment:
            places = ", ".join(map(str, PLACES))
            raise Failed(
                "there is no configuration here",
                Exit.CONFIG,
                f"name one with --config or --data-dir, or make one with `postroom init` (looked for {places})",
            )
        return load(file, environment)

    def data(self, settings: Settings, *, as_owner: bool = True) -> DataDir:
        """The data directory, which must have been made; root becomes its owner. Raises Failed, OSError."""
        data = DataDir(settings.data_dir)
        if not data.directory.exists():
            raise Failed(
                f"{data.root} is not a data directory yet", Exit.CONFIG, "make it with `postroom init`"
            )
        if as_owner:
            become_owner(data.root)
        return data


_CURRENT: Final[ContextVar[Target]] = ContextVar("target", default=Target())  # noqa: B039  (frozen)


def current() -> Target:
    """What the command line named."""
    return _CURRENT.get()


def choose(target: Target) -> None:
    """Remember what the command line named, for the command that runs next."""
    _CURRENT.set(target)
