"""``postroom config``: check it, show it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from postroom.cli.exits import Exit
from postroom.cli.output import Json, complain, print_json, say
from postroom.cli.target import current
from postroom.config.loading import ConfigErrors, load
from postroom.config.spec import Field, Unit, fields_of, write_quantity

app = App(name="config", help="The configuration.")


@app.command
def check(file: Path | None = None, /, *, json: Json = False) -> int:
    """Tell everything that is wrong with the configuration, with line and suggestion.

    Parameters
    ----------
    file
        The file to look at; otherwise the one in effect.
    json
        Print the mistakes as JSON.
    """
    errors = []
    name = file or current().config_file()
    try:
        if file is None:
            current().settings()
        else:
            load(file, os.environ)
    except ConfigErrors as found:
        errors = found.errors
    if json:
        print_json([dataclasses.asdict(each) for each in errors])
    elif errors:
        for each in errors:
            complain(str(each))
    else:
        say(f"{name or 'the defaults'}: good")
    return Exit.CONFIG if errors else Exit.OK


@app.command
def show(
    *,
    changed: Annotated[bool, Parameter(name="--changed", negative=(), show_default=False)] = False,
    json: Json = False,
) -> None:
    """Print the settings in effect, as TOML that could be used as a configuration.

    Parameters
    ----------
    changed
        Only those that differ from their defaults.
    json
        Print JSON instead.
    """
    settings = current().settings()
    if json:
        print_json(_as_json(settings))
    else:
        lines = list(_as_toml(settings, (), changed=changed))
        print("\n".join(lines).strip())


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields_of(type(value))}
    if isinstance(value, tuple):
        return [_as_json(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _as_toml(section: Any, path: tuple[str, ...], *, changed: bool, repeated: bool = False) -> Iterator[str]:
    kind: type = type(section)
    fields = fields_of(kind)
    lines = [
        f"{field.name} = {_toml_value(getattr(section, field.name), field)}"
        for field in fields
        if field.section is None
        and getattr(section, field.name) is not None
        and not (changed and getattr(section, field.name) == field.default)
    ]
    if lines or repeated:
        name = ".".join(path)
        yield from ["", f"[[{name}]]" if repeated else f"[{name}]"] if path else []
        yield from lines
    for field in fields:
        value = getattr(section, field.name)
        if field.section is not None and field.repeated:
            for each in value:
                yield from _as_toml(each, (*path, field.name), changed=changed, repeated=True)
        elif field.section is not None:
            yield from _as_toml(value, (*path, field.name), changed=changed)


def _toml_value(value: Any, field: Field) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(each, field) for each in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        unit = field.spec.unit if field.spec else Unit.NONE
        text = write_quantity(value, unit)
        return text if text == str(value) else f'"{text}"'
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
