"""docs/configuration.md, written from the settings themselves.

``python -m postroom.config.reference`` prints the page; ``--write FILE`` puts it into a file. A test compares the file in
the tree with what this module says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from postroom.config.loading import ENVIRONMENT_PREFIX
from postroom.config.settings import STANDARD_LISTENERS, Listener, Settings
from postroom.config.spec import Field, Kind, Spec, Unit, fields_of, write_quantity

INTRODUCTION: Final = """\
<!-- Written by `make docs` from src/postroom/config/settings.py: change it there. -->
# Configuration

One TOML file, `postroom.toml`, holds everything that can be configured; every setting may be left out. `postroom init`
writes a first one into the data directory. Commands look for it there, or take `--config FILE`.

- `postroom config check` tells all mistakes at once, each with its line and, where one is at hand, a suggestion.
- `postroom config show` prints what is in effect.
- Sizes can be written as numbers or as `"50 MB"` (1000) and `"48 KiB"` (1024), times as seconds or as `"30 s"`,
  `"15 min"`, `"4 h"`, `"5 d"`.
- Relative paths count from the file's directory.
- Each setting can be overridden by an environment variable, named below; lists are separated by commas there.
  (Tables that repeat, such as listeners, are the exception: they are configured in the file alone.)
- Changes take effect at the next start. Certificates are watched and reloaded while postroom runs.

```toml
# A server for one organisation, on all addresses and the standard ports.
hostname = "mail.example.test"
user = "postroom"

[tls]
certificate = "/etc/ssl/mail.example.test/fullchain.pem"
key = "/etc/ssl/mail.example.test/key.pem"

[[listeners]]
protocol = "smtp"
address = "0.0.0.0"
port = 25

[[listeners]]
protocol = "submission"
address = "0.0.0.0"
port = 465
tls = "implicit"

[[listeners]]
protocol = "imap"
address = "0.0.0.0"
port = 993
tls = "implicit"
```
"""

LISTENERS: Final = """
Listeners are tables of their own, each begun by `[[listeners]]`. Without any, postroom listens on 127.0.0.1 for
{standard}, each at that port plus `base_port`; and for LMTP on the unix socket `run/lmtp.sock` in the data directory.
"""


def reference() -> str:
    """The whole page as Markdown."""
    return INTRODUCTION + "".join(_section("", Settings, ()))


def _section(title: str, kind: type, path: tuple[str, ...], repeated: bool = False) -> Iterator[str]:
    fields = fields_of(kind)
    own = [field for field in fields if field.section is None]
    yield f"\n## {title or 'At the top of the file'}\n"
    if path:
        yield f"\n{(kind.__doc__ or '').strip()}\n"
    if kind is Listener:
        standard = ", ".join(
            f"{protocol.value} ({port}, {tls.value})" for protocol, port, tls in STANDARD_LISTENERS
        )
        yield LISTENERS.format(standard=standard)
    for field in own:
        yield from _setting(field, (*path, field.name), in_environment=not repeated)
    for field in fields:
        if field.section is not None:
            here = (*path, field.name)
            name = ".".join(here)
            yield from _section(
                f"`[[{name}]]`" if field.repeated else f"`[{name}]`", field.section, here, field.repeated
            )


def _setting(field: Field, path: tuple[str, ...], *, in_environment: bool) -> Iterator[str]:
    spec = field.spec
    assert spec is not None
    yield f"\n### `{field.name}`\n\n{spec.doc}\n\n"
    yield f"- Type: {_type(field, spec)}\n"
    yield f"- Default: {_default(field, spec)}\n"
    if bounds := _bounds(spec):
        yield f"- Range: {bounds}\n"
    if in_environment:
        yield f"- Environment: `{ENVIRONMENT_PREFIX}{'_'.join(path).upper()}`\n"


def _type(field: Field, spec: Spec) -> str:
    if field.kind is Kind.CHOICE:
        return "one of " + ", ".join(f'`"{choice}"`' for choice in field.choices)
    return field.kind.value + (f", in {spec.unit.value}" if spec.unit is not Unit.NONE else "")


def _default(field: Field, spec: Spec) -> str:
    value = field.default
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return f"`[{', '.join(_literal(each, spec) for each in value)}]`"
    return f"`{_literal(value, spec)}`"


def _literal(value: Any, spec: Spec) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        text = write_quantity(value, spec.unit)
        return text if text == str(value) else f'"{text}"'
    return f'"{value.value if isinstance(value, StrEnum) else value}"'


def _bounds(spec: Spec) -> str:
    low, high = (
        None if bound is None else write_quantity(bound, spec.unit) for bound in (spec.minimum, spec.maximum)
    )
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


def main(arguments: Sequence[str]) -> int:
    """Print the page, or write it: ``--write FILE``."""
    match list(arguments):
        case []:
            sys.stdout.write(reference())
        case ["--write", name]:
            Path(name).write_text(reference(), encoding="utf-8")
        case _:
            sys.stderr.write("usage: python -m postroom.config.reference [--write FILE]\n")
            return 64
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
