"""When a running server collects again."""

from __future__ import annotations

import pytest

from postroom.app.collecting_service import Rhythm


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_interval_is_kept_but_not_to_the_second(chance: float) -> None:
    rhythm = Rhythm(600.0, lambda: chance)
    assert 540 <= rhythm.pause(0) <= 600
    assert 0 <= rhythm.first() <= 5


def test_failures_make_it_wait_longer_up_to_an_hour() -> None:
    pauses = [Rhythm(600.0, lambda: 1.0).pause(failures) for failures in range(1, 12)]
    assert pauses[:4] == [30, 60, 120, 240]
    assert pauses[-1] == 3600
    assert Rhythm(600.0, lambda: 0.0).pause(1) == 15
    assert Rhythm(600.0, lambda: 1.0).pause(10**9) == 3600


def test_rare_and_frequent_sources() -> None:
    assert Rhythm(86_400.0, lambda: 1.0).pause(40) == 86_400
    assert Rhythm(1.0, lambda: 1.0).pause(1) == 1
