"""Messages of given sizes for the load: text of many words, so that indexes and searches have something to do."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Final

RARE: Final = "xylograph"
"""Every 600th message has this word with a number behind it, 0, 1, 2 ..., so that no search asks for a word twice."""
_SYLLABLES: Final = (
    "ka",
    "lo",
    "mi",
    "ru",
    "ten",
    "sa",
    "vor",
    "del",
    "qui",
    "na",
    "pes",
    "tor",
    "gan",
    "li",
)


@cache
def vocabulary() -> tuple[str, ...]:
    """2,000 words, the same each time."""
    chance = random.Random(7)
    return tuple("".join(chance.choices(_SYLLABLES, k=chance.randrange(1, 5))) for _ in range(2_000))


def compose(octets: int, number: int) -> bytes:
    """A message of about so many octets; every 600th holds RARE with a number. Three at a time are a thread."""
    chance = random.Random(number)
    ancestors = " ".join(f"<{one}@elsewhere.test>" for one in range(number - number % 3, number))
    references = f"References: {ancestors}\r\n" if ancestors else ""
    head = (
        f"From: Sender {number} <sender{number % 50}@elsewhere.test>\r\nTo: User <user@example.test>\r\n"
        f"Subject: {' '.join(chance.choices(vocabulary(), k=5))} {number}\r\n"
        f"Date: Mon, 23 Nov 2026 10:{number // 60 % 60:02}:{number % 60:02} +0000\r\n"
        f"Message-ID: <{number}@elsewhere.test>\r\n{references}"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    lines = [head]
    size = len(head)
    while size < octets - 70:
        line = " ".join(chance.choices(vocabulary(), k=10))[:76] + "\r\n"
        lines.append(line)
        size += len(line)
    if number % 600 == 500:
        lines.append(f"{RARE}{number // 600}\r\n")
    return "".join(lines).encode()


def message_file(folder: Path, octets: int) -> Path:
    """One message in a file."""
    path = folder / f"message-{octets}"
    if not path.exists():
        path.write_bytes(compose(octets, 1))
    return path
