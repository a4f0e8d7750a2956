"""Rules for the whole suite.

Under ``CI=true`` a skip is a failure: what a machine cannot test must be installed there, not passed over in silence.
A test that is expected to fail (xfail) is not a skip.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

SKIP_IS_FAILURE = os.environ.get("CI", "").lower() == "true"
"""Set on the machine that decides whether a change goes in."""

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile(
    "long", deadline=None, print_blob=True, max_examples=int(os.environ.get("POSTROOM_TEST_EXAMPLES", "2000"))
)
settings.load_profile("long" if "POSTROOM_TEST_EXAMPLES" in os.environ else "default")


def fail_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that still tells its reason."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"CI=true turns skips into failures. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if SKIP_IS_FAILURE:
        fail_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if SKIP_IS_FAILURE:
        fail_skipped(report)
    return report
