"""Logs: structured events, to standard error, for people on a terminal and as JSON lines otherwise.

Invariants: one event is one line (a bug's traceback on a terminal apart); no control character of a peer's reaches the
terminal or breaks a line; no value is longer than a limit; nothing under a name that sounds like a secret is written, and
no subject of a message.

Everything logs with ``structlog.get_logger()``; what libraries say through the standard ``logging`` comes out alike.

It must not know: which events exist.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from postroom.config.settings import Log, LogFormat

MAX_TEXT: Final = 1024
"""Characters of one value."""
MAX_TRACEBACK: Final = 16_384
MAX_ITEMS: Final = 50
MAX_DEPTH: Final = 4
REDACTED: Final = "[redacted]"

SECRET_NAMES: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "private_key",
    "initial_response",
    "subject",
)
"""A key that contains one of these is not written."""


def _escapes() -> dict[int, str]:
    """Characters that act on a terminal, break lines or turn the direction of text, each as an escape."""
    codes = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF]
    codes += [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    table = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in codes}
    table.update({9: "\\t", 10: "\\n", 13: "\\r"})
    return table


_encode: Final = msgspec.json.Encoder().encode
_ESCAPES: Final = _escapes()
_ESCAPES_BUT_NEWLINE: Final = {code: text for code, text in _ESCAPES.items() if code != 10}


def escape(text: str, limit: int = MAX_TEXT, *, newlines: bool = False) -> str:
    """Text that can be shown anywhere: control characters escaped, cut at ``limit`` characters."""
    if len(text) > limit:
        text = f"{text[:limit]}... [{len(text)} characters]"
    if text.isascii() and text.isprintable():
        return text
    table = _ESCAPES_BUT_NEWLINE if newlines else _ESCAPES
    return text.translate(table).encode("utf-8", "backslashreplace").decode("utf-8")


@lru_cache(1024)
def is_secret(name: str) -> bool:
    """Whether a value under this name must not be written."""
    lowered = name.lower()
    return any(word in lowered for word in SECRET_NAMES)


_escaped_key: Final = lru_cache(1024)(escape)


def clean(value: Any, depth: int = 0) -> Any:
    """A value that can be written: plain types only, escaped, bounded, secrets inside mappings removed."""
    if type(value) is str:
        return escape(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 64 else "[large number]"
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bytes | bytearray):
        return escape(bytes(value[: MAX_TEXT + 1]).decode("utf-8", "backslashreplace"))
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            pairs = list(value.items())[:MAX_ITEMS]
            return {
                escape(str(key)): REDACTED if is_secret(str(key)) else clean(each, depth + 1)
                for key, each in pairs
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(each, depth + 1) for each in list(value)[:MAX_ITEMS]]
    return escape(str(value))


def clean_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """structlog processor: every value cleaned, secrets removed. A traceback keeps its newlines."""
    cleaned: dict[str, Any] = {}
    for key, value in event.items():
        if key.startswith("_"):
            cleaned[key] = value  # structlog's own, gone before anything is written
        elif is_secret(key):
            cleaned[_escaped_key(key)] = REDACTED
        elif key == "exception":
            cleaned[key] = escape(str(value), MAX_TRACEBACK, newlines=True)
        else:
            cleaned[_escaped_key(key)] = clean(value)
    return cleaned


class TimeStamper:
    """structlog processor: the time in UTC to the microsecond. The part up to the second is written once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._written = ""

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        now = time.time_ns() // 1000
        second, microseconds = divmod(now, 1_000_000)
        if second != self._second:
            self._second = second
            self._written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        event["time"] = f"{self._written}.{microseconds:06}Z"
        return event


def render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """structlog processor: one JSON object on one line, time, level and event first."""
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return _encode({**first, **event}).decode()


def indent_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """structlog processor for people: no line of a traceback can be taken for the beginning of an event."""
    if isinstance(traceback := event.get("exception"), str):
        event["exception"] = "    " + traceback.replace("\n", "\n    ")
    return event


class ForgivingStream(io.TextIOBase):
    """Writes to a stream, and forgets what it does not take: a full disk under the log must not cost the mail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Never raises for what the stream cannot do."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        """Likewise."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return self._stream.isatty()


def configure(log: Log, stream: TextIO | None = None) -> None:
    """Set up logging for this process. Repeatable; ``stream`` is standard error unless given."""
    target = cast("TextIO", ForgivingStream(sys.stderr if stream is None else stream))
    human = log.format is LogFormat.HUMAN or (log.format is LogFormat.AUTO and target.isatty())
    level = getattr(logging, log.level.value.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=False, key="time") if human else TimeStamper(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        clean_event,
    ]
    last: list[Processor] = [render_json]
    if human:
        renderer = structlog.dev.ConsoleRenderer(
            colors=target.isatty(), timestamp_key="time", pad_event_to=0, pad_level=False
        )
        last = [indent_traceback, renderer]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
