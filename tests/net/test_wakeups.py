"""Wake-ups between workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from postroom.model.ids import AccountId, Modseq
from postroom.net.notify import sd_notify
from postroom.net.wakeups import WakeupChannel


def _ignore(_account: AccountId, _modseq: Modseq) -> None:
    """The first one only sends."""


async def test_siblings_hear_the_newest_modseq(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    loop = asyncio.get_running_loop()
    one, two = tmp_path / "1", tmp_path / "2"
    first = WakeupChannel(loop, one, [two, tmp_path / "dead"], _ignore)
    second = WakeupChannel(loop, two, [one], lambda account, modseq: heard.append((account, modseq)))
    try:
        for number in range(2000):
            first.send(AccountId(number % 1000 + 1), Modseq(number + 1))
        async with asyncio.timeout(20):
            while len(heard) < 1000:
                await asyncio.sleep(0.005)
        assert heard == [(number + 1, number + 1001) for number in range(1000)]
    finally:
        first.close()
        second.close()


def test_no_service_manager_is_no_error(tmp_path: Path) -> None:
    assert not sd_notify("READY=1", {})
    assert not sd_notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "none")})
