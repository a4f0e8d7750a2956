"""Nothing that was acknowledged is lost in a power cut; and mistakes that would lose it do not pass this test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from tests.powercut.disk import Disk
from tests.powercut.life import complaints, live, recording

CUTS = int(os.environ.get("POSTROOM_TEST_CUTS", "100"))
SEED = int(os.environ.get("POSTROOM_TEST_SEED", "20260708"))
CUTS_OF_A_LIFE = 10
LIVES_IN_A_ROW = 3
"""A shard that has survived a cut lives on, and is cut again."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120 + 4 * CUTS)]


async def cut_often(directory: Path, cuts: int, *mutants: str) -> list[str]:
    """The complaints after the first cut that left any."""
    random = Random(SEED)
    root = directory / "world"
    done = life = 0
    while done < cuts:
        if life % LIVES_IN_A_ROW == 0:
            shutil.rmtree(root, ignore_errors=True)
            (root / "blobs").mkdir(parents=True)
        life += 1
        disk = Disk(root)
        with recording(disk, *mutants) as vfs:
            witnesses = await live(root, disk, vfs, random)
        left = root
        for _ in range(min(CUTS_OF_A_LIFE, cuts - done)):
            done += 1
            count = random.randint(0, len(disk.events))
            left = directory / f"cut {done}"
            disk.survivors(count, random, left)
            pristine = directory / f"left {done}"
            shutil.copytree(left, pristine) if left.exists() else pristine.mkdir()
            wrong = await complaints(left, witnesses, count)
            if wrong:
                return [f"cut {done} after event {count} of {len(disk.events)}:", *wrong]
            shutil.rmtree(left)
            left = pristine
            if done > 1:
                shutil.rmtree(directory / f"left {done - 1}", ignore_errors=True)
        shutil.rmtree(root)
        left.rename(root)
        (root / "blobs").mkdir(exist_ok=True)
    return []


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    assert await cut_often(tmp_path, CUTS) == []


@pytest.mark.parametrize("mutant", ["normal", "file", "directory"])
async def test_a_mistake_is_caught(tmp_path: Path, mutant: str) -> None:
    assert await cut_often(tmp_path, max(CUTS, 100), mutant)
