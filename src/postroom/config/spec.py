"""What can be said about one setting: how it is declared, and how a value is read.

Purpose: a setting is a dataclass field made by ``setting``; everything the loader, the reference and the tests need is
in its metadata, so that a setting is stated in one place.

Invariants: sections are frozen dataclasses whose fields are settings, sections or tuples of sections (tables in TOML's
``[[name]]``); every default is valid by its own rules.

It must not know: files, the environment, which settings exist.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, cast


class Unit(StrEnum):
    """What a number counts; the value is the word for people."""

    NONE = ""
    OCTETS = "octets"
    SECONDS = "seconds"
    OCTETS_PER_SECOND = "octets per second"


class Kind(StrEnum):
    """The shape of a setting's value; the value is the word for people."""

    BOOLEAN = "true or false"
    INTEGER = "integer"
    STRING = "string"
    PATH = "path"
    CHOICE = "one of"
    STRINGS = "list of strings"
    INTEGERS = "list of integers"


@dataclass(slots=True, frozen=True)
class Spec:
    """One setting's rules. ``check`` raises ValueError with a sentence when a value of the right type is not good."""

    doc: str
    unit: Unit = Unit.NONE
    minimum: int | None = None
    maximum: int | None = None
    check: Callable[[Any], None] | None = None


def setting(
    default: Any,
    doc: str,
    *,
    unit: Unit = Unit.NONE,
    minimum: int | None = None,
    maximum: int | None = None,
    check: Callable[[Any], None] | None = None,
) -> Any:
    """A dataclass field for one setting: its default, what it means, and the range (inclusive) of its numbers."""
    spec = Spec(doc, unit, minimum, maximum, check)
    return dataclasses.field(default=default, metadata={"spec": spec})


def section(kind: type) -> Any:
    """A dataclass field for a section: a dataclass of settings, all at their defaults."""
    return dataclasses.field(default_factory=kind)


@dataclass(slots=True, frozen=True)
class Field:
    """One field of a section, with its annotation resolved."""

    name: str
    annotation: Any
    default: Any
    spec: Spec | None
    section: type | None
    """The dataclass, for a section or a list of tables"""
    repeated: bool = False

    @property
    def optional(self) -> bool:
        """Whether the setting may be left unset (None)."""
        return types.NoneType in typing.get_args(self.annotation)

    @property
    def kind(self) -> Kind:
        """The shape of the value."""
        return kind_of(self.annotation)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a CHOICE."""
        return tuple(member.value for member in bare(self.annotation))


def bare(annotation: Any) -> Any:
    """The annotation without ``| None``."""
    if isinstance(annotation, types.UnionType):
        left = [each for each in typing.get_args(annotation) if each is not types.NoneType]
        return left[0]
    return annotation


def kind_of(annotation: Any) -> Kind:
    """The shape that an annotation asks for. Raises TypeError for one that settings do not use."""
    plain = bare(annotation)
    if isinstance(plain, type) and issubclass(plain, StrEnum):
        return Kind.CHOICE
    simple = {bool: Kind.BOOLEAN, int: Kind.INTEGER, str: Kind.STRING, Path: Kind.PATH}
    if plain in simple:
        return simple[plain]
    if typing.get_origin(plain) is tuple:
        element = typing.get_args(plain)[0]
        if element in (str, int):
            return Kind.STRINGS if element is str else Kind.INTEGERS
    raise TypeError(f"a setting cannot be of type {annotation!r}")


@cache
def fields_of(kind: type) -> tuple[Field, ...]:
    """The fields of a section in the order they are declared."""
    hints = typing.get_type_hints(kind)
    return tuple(_field(each, hints[each.name]) for each in dataclasses.fields(kind))


def _field(field: dataclasses.Field[Any], annotation: Any) -> Field:
    spec = cast("Spec | None", field.metadata.get("spec"))
    inner = annotation
    repeated = False
    if spec is None and typing.get_origin(annotation) is tuple:
        inner, repeated = typing.get_args(annotation)[0], True
    nested = inner if spec is None and dataclasses.is_dataclass(inner) else None
    default = field.default if field.default is not dataclasses.MISSING else None
    return Field(field.name, annotation, default, spec, cast("type | None", nested), repeated)


def walk(kind: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Field]]:
    """Every setting below a section with its path, sections in order, without those of repeated tables."""
    for field in fields_of(kind):
        if field.section is None:
            yield (*path, field.name), field
        elif not field.repeated:
            yield from walk(field.section, (*path, field.name))


# --- numbers with a unit

_OCTETS: Final = {
    "": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4,
    "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "TIB": 1024**4,
}  # fmt: skip
_SECONDS: Final = {"": 1, "S": 1, "MIN": 60, "M": 60, "H": 3600, "D": 86400, "W": 604800}


def read_quantity(text: str, unit: Unit) -> int:
    """``"50 MB"``, ``"48 KiB"``, ``"4h"``, ``"5 d"`` or plain digits as a number. Raises ValueError with a sentence."""
    stripped = text.strip()
    digits = stripped.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    suffix = stripped[len(digits) :].strip().upper()
    factors = {Unit.SECONDS: _SECONDS, Unit.NONE: {"": 1}}.get(unit, _OCTETS)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18 or suffix not in factors:
        example = {Unit.SECONDS: ' such as 90 or "15 min"', Unit.NONE: ""}.get(
            unit, ' such as 1000 or "48 KiB"'
        )
        raise ValueError(f"must be a whole number{example}")
    return int(digits) * factors[suffix]


def write_quantity(value: int, unit: Unit) -> str:
    """The shortest exact way to say a number in its unit: the inverse of ``read_quantity``."""
    scale: tuple[tuple[str, int], ...]
    if unit is Unit.SECONDS:
        scale = (("d", 86400), ("h", 3600), ("min", 60))
    elif unit is Unit.NONE:
        return str(value)
    else:
        scale = (("GiB", 1024**3), ("MB", 1000**2), ("MiB", 1024**2), ("KiB", 1024))
    for name, factor in scale:
        if value and value % factor == 0:
            return f"{value // factor} {name}"
    return str(value)
