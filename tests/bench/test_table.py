"""Arithmetic and layout of the table."""

from __future__ import annotations

import pytest
from bench.rows import Bench, Figure, Row
from bench.server import Server
from bench.table import Result, as_json, insert, markdown
from bench.tlsclient import Measurement, as_table

BEGIN, END = "<!-- table -->", "<!-- end of the table -->"


def _nothing(_bench: Bench, _server: Server) -> Figure:
    raise AssertionError("no row is measured here")


def _result(*, more_is_better: bool = True, **figures: list[float]) -> Result:
    row = Row("work", "imap", "/s", _nothing, 2, more_is_better=more_is_better)
    return Result(
        row,
        {
            name.replace("_", " "): [Figure(value, value / 10) for value in values]
            for name, values in figures.items()
        },
    )


def test_a_figure_is_the_median_of_its_rounds() -> None:
    assert _result(postroom=[1, 100, 7]).median("postroom") == Figure(7, 0.7)
    assert _result(postroom=[1]).median("Cyrus") is None


def test_figures_without_cpu_time_have_a_median() -> None:
    result = Result(
        Row("work", "imap", "KiB", _nothing), {"postroom": [Figure(2.0), Figure(4.0), Figure(9.0)]}
    )
    assert result.median("postroom") == Figure(4.0, None)


def test_a_ratio_is_to_the_best_other_server() -> None:
    assert _result(postroom=[300], Cyrus=[50], Dovecot_mdbox=[100]).ratio == 3.0


def test_a_ratio_of_times_is_above_one_for_the_shorter_time() -> None:
    assert _result(more_is_better=False, postroom=[5], Cyrus=[50], Dovecot_mdbox=[10]).ratio == 2.0


def test_cpu_time_is_compared_with_the_cheapest_other_server() -> None:
    assert _result(postroom=[4], Cyrus=[2], Dovecot_mdbox=[8]).cpu_ratio == 0.5
    without = Result(
        Row("work", "imap", "KiB", _nothing, more_is_better=False),
        {"postroom": [Figure(2)], "Cyrus": [Figure(4)]},
    )
    assert without.cpu_ratio is None
    assert without.ratio == 2.0


@pytest.mark.parametrize("result", [_result(postroom=[3.0]), _result(Cyrus=[3.0]), _result()])
def test_without_two_servers_there_is_no_ratio(result: Result) -> None:
    assert result.ratio is None
    assert result.cpu_ratio is None


def test_the_page_says_what_failed_and_leaves_out_what_was_not_asked() -> None:
    result = _result(postroom=[1234.5])
    result.failures["Cyrus"] = "said NO"
    lines = markdown([result], ["postroom", "Cyrus", "Postfix"], "today").splitlines()
    assert lines[0] == "Measured: today."
    assert lines[-1] == "| work (/s) | 1,234, 123.45 ms CPU | failed |  |  |  | 2 |"


def test_a_table_takes_the_place_of_the_last_one() -> None:
    page = f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nmore\n"
    once = insert(page, "new\n")
    assert once == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nmore\n"
    assert insert(once, "new\n") == once


def test_a_page_without_marks_gets_them() -> None:
    assert insert("", "new\n") == f"{BEGIN}\n\nnew\n\n{END}\n"


def test_json_holds_every_round() -> None:
    (found,) = as_json([_result(postroom=[4, 6], Cyrus=[2, 2])])
    assert found["ratio"] == 2.5
    assert found["servers"] == {
        "postroom": [{"value": 4, "cpu_ms": 0.4}, {"value": 6, "cpu_ms": 0.6}],
        "Cyrus": [{"value": 2, "cpu_ms": 0.2}, {"value": 2, "cpu_ms": 0.2}],
    }


def test_measurements_as_a_table() -> None:
    found = [
        Measurement("work", 1234.5, "us", {"ratio": {"openssl": 0.86}, "rounds_s": [1, 2], "idle_kib": 22})
    ]
    assert as_table(found, "today").splitlines()[2:] == [
        "| work | figure | details |",
        "|---|---:|---|",
        "| work | 1,234.50 us | ratio openssl 0.86, idle kib 22 |",
    ]
