"""Thread keys: the base subject and the references of a message (RFC 5256 §2.1, §3).

Invariants: linear; never raises.

It must not know: threads of other messages.
"""

from __future__ import annotations

import re
from typing import Final

MAX_SUBJECT: Final = 1 << 14
"""Characters of a subject that are looked at."""

MAX_REFERENCES: Final = 1000
MAX_REFERENCES_OCTETS: Final = 1 << 17

_SPACES: Final = re.compile(r"[ \t\r\n]+")
_BLOB: Final = re.compile(r"\[[^\[\]]*\] *")
_REFWD: Final = re.compile(r"(?:re|fwd?) *(?:\[[^\[\]]*\] *)?:", re.IGNORECASE | re.ASCII)
_MSG_ID: Final = re.compile(rb"<([^<>]+)>")


def _strip_leaders(text: str, start: int, end: int) -> int:
    """Steps (3) to (5): the offset behind all leaders and removable blobs."""
    while start < end:
        if text[start] == " ":
            start += 1
            continue
        run = start
        last = start  # where the last blob of the run begins
        while (blob := _BLOB.match(text, run, end)) is not None:
            last = run
            run = blob.end()
        refwd = _REFWD.match(text, run, end)
        if refwd is not None:
            start = refwd.end()
            continue
        # no "re:" behind the blobs: they go as long as something stays (step 4)
        return run if run < end else last
    return start


def base_subject(subject: str) -> str:
    """The base subject of a decoded subject (RFC 5256 §2.1)."""
    text = subject[:MAX_SUBJECT]
    if "  " in text or not text.isprintable():
        text = _SPACES.sub(" ", text)
    start, end = 0, len(text)
    while True:
        while True:  # step (2): trailers
            if end > start and text[end - 1] == " ":
                end -= 1
            elif end - start >= 5 and text[end - 5 : end].lower() == "(fwd)":
                end -= 5
            else:
                break
        start = _strip_leaders(text, start, end)
        if (
            end - start > 5 and text[end - 1] == "]" and text[start : start + 5].lower() == "[fwd:"
        ):  # step (6)
            start += 5
            end -= 1
            continue
        return text[start:end]


def is_reply(subject: str) -> bool:
    """Whether a decoded subject says that its message is a reply or a forward: finding its base subject removes "re:", "fwd:",
    "(fwd)" or "[fwd: ...]" (RFC 5256 §3 REFERENCES)."""
    text = _SPACES.sub(" ", subject[:MAX_SUBJECT]).strip(" ")
    if text[-5:].lower() == "(fwd)" or (text[:5].lower() == "[fwd:" and text.endswith("]") and len(text) > 6):
        return True
    at = 0
    while (blob := _BLOB.match(text, at)) is not None:
        at = blob.end()
    return _REFWD.match(text, at) is not None


def message_ids(value: bytes) -> tuple[str, ...]:
    """The msg-ids of a field value without angle brackets, in order, each once (RFC 5322 §3.6.4)."""
    found: dict[str, None] = {}
    for match in _MSG_ID.finditer(value, 0, MAX_REFERENCES_OCTETS):
        text = match[1]
        if b" " in text or b"\t" in text:
            text = b"".join(text.split())
        if text:
            found[text.decode("utf-8", "replace")] = None
            if len(found) >= MAX_REFERENCES:
                break
    return tuple(found)


def message_id(value: bytes) -> str:
    """The first msg-id of a Message-ID field; a value without angle brackets as it stands."""
    start = value.find(b"<")
    if start >= 0:
        end = value.find(b">", start)
        start = value.rfind(b"<", start, end if end >= 0 else None)
        inner = value[start + 1 : end if end >= 0 else None]
    else:
        inner = value
    return inner.strip()[:998].decode("utf-8", "replace")


def references(references_value: bytes | None, in_reply_to: bytes | None) -> tuple[str, ...]:
    """The References, or the first msg-id of In-Reply-To where there are none (RFC 5256 §3 REFERENCES)."""
    if references_value:
        found = message_ids(references_value)
        if found:
            return found
    return message_ids(in_reply_to)[:1] if in_reply_to else ()
