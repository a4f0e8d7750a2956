"""CRAM-MD5 and APOP: where it is turned on, for those who have a secret; for everybody else like a wrong digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom.model.errors import AuthenticationFailed, TooManyAttempts, Unavailable
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator, EncryptionRequired, MechanismUnknown
from postroom.wire.sasl.cram_md5 import CramMd5Client, keyed_digest
from tests.session.test_authentication import ALICE, BOB, CAROL, PASSWORD, Line, Setup, line, run

SECRET = "a secret of its own"
PUBLIC = {AuthenticationFailed.default_public, TooManyAttempts.default_public}
STRANGER = "nobody@example.org"


def with_cram(setup: Setup, limits: AttemptLimits | None = None) -> Setup:
    setup.authenticator = Authenticator(
        setup.directory, setup.executor, Attempts(limits), setup.records.append, cram_md5=True
    )
    for login in (ALICE, CAROL):
        setup.directory.set_shared_secret(login, SECRET)
    return setup


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path / "directory.sqlite")
    yield made
    made.directory.close()


@pytest.fixture
def shared(setup: Setup) -> Setup:
    return with_cram(setup)


async def attempt(shared: Setup, login: str = ALICE, secret: str = SECRET, on: Line | None = None) -> str:
    try:
        return (await run(shared, "CRAM-MD5", on or line(), CramMd5Client(login, secret))).name
    except AuthenticationFailed as error:
        return type(error).__name__ if error.public in PUBLIC else error.public


async def test_it_is_off_unless_it_is_turned_on(setup: Setup) -> None:
    setup.directory.set_shared_secret(ALICE, SECRET)
    assert "CRAM-MD5" not in setup.authenticator.mechanisms(line())
    with pytest.raises(MechanismUnknown):
        await run(setup, "CRAM-MD5", line(), CramMd5Client(ALICE, SECRET))


async def test_it_is_the_last_one_offered_and_never_in_clear(shared: Setup) -> None:
    assert shared.authenticator.mechanisms(line())[-2:] == ("LOGIN", "CRAM-MD5")
    clear = Line(tls=None)
    assert shared.authenticator.mechanisms(clear) == ()
    with pytest.raises(EncryptionRequired):
        await run(shared, "CRAM-MD5", clear, CramMd5Client(ALICE, SECRET))
    assert await attempt(shared, on=Line(tls=None, cleartext_auth_allowed=True)) == ALICE


async def test_the_secret_lets_in_and_the_password_does_not(shared: Setup) -> None:
    assert await attempt(shared) == ALICE
    assert await attempt(shared, "Alice@EXAMPLE.org") == ALICE
    assert await attempt(shared, secret=PASSWORD) == "AuthenticationFailed"
    assert await shared.attempt(password=SECRET) == "AuthenticationFailed"
    assert await shared.attempt() == ALICE
    assert [each.outcome for each in shared.records if each.mechanism == "CRAM-MD5"] == [
        "ok",
        "ok",
        "CRAM-MD5: a wrong digest",
    ]


@pytest.mark.parametrize("login", [BOB, CAROL, STRANGER, "no address"])
async def test_who_has_none_is_refused_like_a_wrong_one(shared: Setup, login: str) -> None:
    assert await attempt(shared, login) == "AuthenticationFailed"
    assert await attempt(shared, ALICE, "wrong secret") == "AuthenticationFailed"
    assert shared.executor.slept[0] == 2.0
    assert len(shared.executor.slept) == 2
    assert shared.records[0].account is None


async def test_without_the_key_nobody_learns_anything(shared: Setup, tmp_path: Path) -> None:
    (tmp_path / "shared-secrets-key").unlink()
    for login in (ALICE, BOB, STRANGER):
        with pytest.raises(Unavailable):
            await attempt(shared, login)
    assert ["the key of the shared secrets is missing" in each.outcome for each in shared.records] == [
        True
    ] * 3
    assert shared.executor.slept == []
    assert await shared.attempt() == ALICE


async def test_wrong_digests_are_counted(setup: Setup) -> None:
    shared = with_cram(setup, AttemptLimits(address_and_user=((3600.0, 3),)))
    outcomes = [await attempt(shared, secret=f"wrong {n}") for n in range(5)]
    assert outcomes == ["AuthenticationFailed"] * 3 + ["TooManyAttempts"] * 2
    assert await attempt(shared) == "TooManyAttempts"


@pytest.mark.parametrize(
    "answer",
    [lambda _: b"", lambda _: b"alice", lambda _: b"\xff " + b"0" * 32, lambda c: c, lambda _: b"x" * 9000],
)
async def test_bad_answers(shared: Setup, answer: Callable[[bytes], bytes]) -> None:
    async def challenge(octets: bytes) -> bytes | None:
        return answer(octets)

    with pytest.raises(AuthenticationFailed):
        await shared.authenticator.exchange("CRAM-MD5", None, line(), challenge)
    with pytest.raises(AuthenticationFailed):
        await shared.authenticator.exchange("CRAM-MD5", b"alice 00", line(), challenge)


async def test_a_replayed_answer_fails(shared: Setup) -> None:
    heard: list[bytes] = []

    async def listen(octets: bytes) -> bytes | None:
        heard.append(CramMd5Client(ALICE, SECRET).step(octets))
        return heard[0]

    assert (await shared.authenticator.exchange("CRAM-MD5", None, line(), listen)).name == ALICE
    with pytest.raises(AuthenticationFailed):
        await shared.authenticator.exchange("CRAM-MD5", None, line(), listen)
    assert heard[0] != heard[1]


async def test_a_login_by_secret(shared: Setup) -> None:
    """What APOP is made of."""

    async def by_secret(login: str, secret: bytes = SECRET.encode()) -> str:
        try:
            return (await shared.authenticator.login_by_secret(login, secret.__eq__, line(), "APOP")).name
        except AuthenticationFailed as error:
            return type(error).__name__

    assert await by_secret("Alice@Example.ORG") == ALICE
    assert await by_secret(CAROL) == "AuthenticationFailed", "disabled"
    fake = shared.directory.credentials(STRANGER).shared_secret()
    assert await by_secret(STRANGER, fake) == "AuthenticationFailed", "nobody, whatever he knows"
    assert await by_secret(BOB, shared.directory.credentials(BOB).shared_secret()) == "AuthenticationFailed"
    assert [each.outcome for each in shared.records] == [
        "ok",
        "unknown or disabled",
        "no shared secret",
        "no shared secret",
    ]
    assert {each.mechanism for each in shared.records} == {"APOP"}


async def test_cram_md5_with_what_stands_for_no_secret(shared: Setup) -> None:
    for login in (BOB, STRANGER):
        octets = shared.directory.credentials(login).shared_secret()

        async def challenge(said: bytes, login: str = login, octets: bytes = octets) -> bytes | None:
            return login.encode() + b" " + keyed_digest(octets, said)

        with pytest.raises(AuthenticationFailed):
            await shared.authenticator.exchange("CRAM-MD5", None, line(), challenge)
    assert [each.outcome for each in shared.records] == ["no shared secret"] * 2
