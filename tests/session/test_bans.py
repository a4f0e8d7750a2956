"""Who tries too much is banned, for all workers, and begins anew when let in again (threats T9)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from tests.session.test_authentication import ALICE, PASSWORD, Setup, line

ATTACKER, NEIGHBOUR = "198.51.100.7", "198.51.100.8"
LIMITS = AttemptLimits(
    address=((60.0, 5), (86_400.0, 50)), flood=(86_400.0, 8), shortest_delay=0, longest_delay=0
)


class Book:
    """Bans as two workers share them."""

    def __init__(self) -> None:
        self.addresses: set[str] = set()

    def banned(self, address: str) -> bool:
        return address in self.addresses

    async def ban(self, address: str) -> None:
        self.addresses.add(address)


class World(Setup):
    """Two workers."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.book = Book()
        self.workers = [
            Authenticator(
                self.directory, self.executor, Attempts(LIMITS), self.records.append, bans=self.book
            )
            for _ in range(2)
        ]
        self.authenticator = self.workers[0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "directory.sqlite")
    yield made
    made.directory.close()


async def test_a_flood_is_banned_and_the_right_password_no_longer_helps(world: World) -> None:
    said = [await world.attempt(ALICE, f"wrong number {n}", line(ATTACKER)) for n in range(8)]
    assert said == ["AuthenticationFailed"] * 5 + ["TooManyAttempts"] * 3
    assert world.book.addresses == {ATTACKER}
    for worker in world.workers:
        world.authenticator = worker
        assert await world.attempt(ALICE, PASSWORD, line(ATTACKER)) == "TooManyAttempts"
        assert await world.attempt(ALICE, PASSWORD, line(NEIGHBOUR)) == ALICE
    assert world.records[-2].outcome == "too many attempts"


async def test_let_in_again_it_begins_anew(world: World) -> None:
    for n in range(8):
        await world.attempt(ALICE, f"wrong number {n}", line(ATTACKER))
    assert await world.attempt(ALICE, PASSWORD, line(ATTACKER)) == "TooManyAttempts"
    world.book.addresses.clear()
    assert await world.attempt(ALICE, PASSWORD, line(ATTACKER)) == ALICE
    assert await world.attempt(ALICE, "wrong again", line(ATTACKER)) == "AuthenticationFailed"
    assert not world.book.addresses


async def test_the_same_mistake_again_and_again_is_no_flood(world: World) -> None:
    for _ in range(50):
        assert await world.attempt(ALICE, "old password", line(ATTACKER)) == "AuthenticationFailed"
    assert not world.book.addresses


async def test_loopback_is_never_banned(world: World) -> None:
    for n in range(50):
        await world.attempt(ALICE, f"wrong number {n}", line("127.0.0.1"))
    assert not world.book.addresses
    assert await world.attempt(ALICE, PASSWORD, line("127.0.0.1")) == ALICE
