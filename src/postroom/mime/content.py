"""Content-Type and Content-Transfer-Encoding, read for the scanner (RFC 2045 §5, §6).

Invariants: never raises. Values are shared between messages by caches, so callers copy what they change.

It must not know: offsets, parts.
"""

from __future__ import annotations

from functools import lru_cache

from postroom.mime.bodystructure import render_parameters, render_type
from postroom.mime.parameters import Parameterised, parse_parameterised, strip_comments


class ContentType:
    """A parsed Content-Type; ``type`` is empty when the value breaks the syntax. ``rendered`` is how a body begins."""

    __slots__ = ("boundary", "over", "params", "rendered", "subtype", "type")

    def __init__(self, parsed: Parameterised) -> None:
        kind, _, subtype = parsed.main.partition("/")
        valid = kind and subtype and parsed.main.isascii() and parsed.main.isprintable()
        self.type = kind[:127] if valid else ""
        self.subtype = subtype[:127]
        self.boundary = parsed.boundary
        self.params = parsed.params
        self.rendered = render_type(self.type, self.subtype, render_parameters(parsed.wire))
        self.over = parsed.over


@lru_cache(maxsize=512)
def _cached_type(value: bytes) -> ContentType:
    return ContentType(parse_parameterised(value))


def read_content_type(value: bytes) -> ContentType:
    """A Content-Type value; the common ones are read once per process, those with a boundary are never alike."""
    if len(value) > 100 or b"oundary" in value:
        return ContentType(parse_parameterised(value))
    return _cached_type(value)


@lru_cache(maxsize=64)
def transfer_encoding(value: bytes) -> str:
    """The token of Content-Transfer-Encoding, lower case (RFC 2045 §6.1)."""
    words = strip_comments(value).split()
    return words[0].strip(b'";').lower().decode("ascii", "ignore")[:40] if words else ""
