"""Accounts in a CSV file, as other systems write them.

Invariants: a line that cannot be read costs that line; passwords are never part of a message.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postroom.cli.exits import Exit, Failed
from postroom.config.spec import Unit, read_quantity
from postroom.model.errors import InvalidName, PostroomError
from postroom.store.directory import NewAccount

COLUMNS: Final = ("name", "password", "quota", "enabled", "password_hash")
_OTHER_NAMES: Final = {
    "email": "name",
    "address": "name",
    "login": "name",
    "user": "name",
    "hash": "password_hash",
}
_YES: Final = {"yes": True, "true": True, "1": True, "": True, "no": False, "false": False, "0": False}


@dataclass(slots=True, frozen=True)
class Row:
    """One line: the account it describes, or why it describes none."""

    line: int
    name: str
    account: NewAccount | PostroomError


def read_accounts(path: Path) -> list[Row]:
    """The lines of a CSV file. Raises Failed when the file or its first line is not usable, OSError."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = [_column(each) for each in next(reader, [])]
            _check_header(path, header)
            return [
                _row(reader.line_num, dict(zip(header, fields, strict=False))) for fields in reader if fields
            ]
        except UnicodeDecodeError:
            raise Failed(f"{path} is not UTF-8 text") from None
        except csv.Error as error:
            raise Failed(f"{path}:{reader.line_num}: {error}") from None


def _column(text: str) -> str:
    lowered = text.strip().lower()
    return _OTHER_NAMES.get(lowered, lowered)


def _check_header(path: Path, header: list[str]) -> None:
    unknown = [each for each in header if each not in COLUMNS]
    doubled = len(set(header)) < len(header)
    if unknown or doubled or "name" not in header or not {"password", "password_hash"} & set(header):
        known = ", ".join(COLUMNS)
        raise Failed(
            f"{path}: the first line must name the columns"
            + (f"; unknown: {', '.join(unknown)}" if unknown else ""),
            Exit.DATA,
            f"columns: {known}; name and one of password and password_hash are needed",
        )


def _row(line: int, fields: dict[str, str]) -> Row:
    name = fields.get("name", "").strip()
    enabled = _YES.get(fields.get("enabled", "").strip().lower())
    try:
        quota = read_quantity(fields.get("quota", "").strip() or "0", Unit.OCTETS)
        if enabled is None:
            raise ValueError("enabled is yes or no")
    except ValueError as error:
        reason = str(error) if enabled is None else f"the quota {error}"
        return Row(line, name, InvalidName(reason))
    account = NewAccount(
        name,
        fields.get("password", ""),
        quota,
        enabled,
        fields.get("password_hash", "").strip(),
    )
    return Row(line, name, account)
