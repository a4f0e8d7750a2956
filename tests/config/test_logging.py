"""Logs: nothing a peer says acts on a terminal, breaks a line, or grows without bound; no secrets."""

from __future__ import annotations

import errno
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from postroom.config.logging import MAX_TEXT, configure, escape
from postroom.config.settings import Log, LogFormat, LogLevel


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(kind: LogFormat, event: str, level: LogLevel = LogLevel.INFO, **values: Any) -> str:
    stream = io.StringIO()
    configure(Log(format=kind, level=level), stream)
    structlog.get_logger().info(event, **values)
    return stream.getvalue()


HOSTILE = [
    "a\n2026-01-01T00:00:00 [info] login ok user=admin",
    "\x1b]0;title\x07\x1b[2J",
    "line\u2028separator\u2029paragraph\x85next",
    "\x9b31m",
    "right-to-left \u202e override \u2066",
    "\x00\x7f\r\n",
    "lone \udcff surrogate",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("kind", [LogFormat.HUMAN, LogFormat.JSON])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_stay_on_one_printable_line(kind: LogFormat, text: str) -> None:
    line = logged(kind, text, user=text, octets=text.encode("utf-8", "surrogateescape"), inside={"k": [text]})
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.encode("utf-8")
    assert len(line) < 8 * MAX_TEXT
    if kind is LogFormat.JSON:
        assert json.loads(line)["event"] == escape(text)


@pytest.mark.parametrize("kind", [LogFormat.HUMAN, LogFormat.JSON])
def test_secrets_and_subjects_are_not_written(kind: LogFormat) -> None:
    line = logged(
        kind,
        "login",
        password="hunter2-a",
        Subject="hunter2-b",
        auth={"access_token": "hunter2-c", "deep": {"client_secret": "hunter2-d"}},
        user="anna@example.test",
    )
    assert "hunter2" not in line
    assert "anna@example.test" in line


def test_json_begins_with_time_level_event() -> None:
    record = json.loads(logged(LogFormat.JSON, "started", b=1, a=2))
    assert list(record)[:3] == ["time", "level", "event"]
    assert record["time"].endswith("Z")
    assert (record["a"], record["b"]) == (2, 1)


def test_auto_is_json_when_not_on_a_terminal() -> None:
    assert json.loads(logged(LogFormat.AUTO, "started"))["event"] == "started"


def test_level_filters_both_sources() -> None:
    stream = io.StringIO()
    configure(Log(format=LogFormat.JSON, level=LogLevel.WARNING), stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("asyncio").info("quiet")
    logging.getLogger("asyncio").warning("from %s", "a\nlibrary")
    record = json.loads(stream.getvalue())
    assert (record["level"], record["event"]) == ("warning", "from a\\nlibrary")


@pytest.mark.parametrize("kind", [LogFormat.HUMAN, LogFormat.JSON])
def test_tracebacks_cannot_pass_for_events(kind: LogFormat) -> None:
    stream = io.StringIO()
    configure(Log(format=kind), stream)
    try:
        raise ValueError("bad\n2026-01-01T00:00:00 [info] login ok\x1b[31m")
    except ValueError:
        structlog.get_logger().exception("bug", id="abc")
        logging.getLogger("x").exception("bug")
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    if kind is LogFormat.JSON:
        assert [json.loads(line)["event"] for line in lines] == ["bug", "bug"]
    else:
        assert sum(not line.startswith("    ") for line in lines) == 2


@pytest.mark.parametrize("kind", [LogFormat.HUMAN, LogFormat.JSON])
def test_a_log_that_cannot_be_written_stops_nothing(kind: LogFormat) -> None:
    """A full disk under the log must not cost the mail."""

    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    configure(Log(format=kind), Full())
    structlog.get_logger().info("lost", user="anna@example.test")
    logging.getLogger("asyncio").warning("lost")


@given(st.text())
def test_escaped_text_is_printable_and_bounded(text: str) -> None:
    shown = escape(text, 100)
    assert "\n" not in shown
    assert not any(each in shown for each in "\x00\x1b\x7f\x9b\u2028\u202e")
    shown.encode("utf-8")
    assert len(shown) <= 100 * 6 + 40
