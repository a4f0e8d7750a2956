"""Tokens in exchanges: whose they are, what the client is told, what is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.model.errors import AuthenticationFailed, TooManyAttempts, Unavailable
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator, EncryptionRequired, MechanismUnknown
from postroom.wire.sasl.oauth import BearerClient
from tests.session.test_authentication import ALICE, BOB, CAROL, Line, Setup, line, run
from tests.support.identities import FakeTokens

MECHANISMS = ("OAUTHBEARER", "XOAUTH2")


class TokenSetup(Setup):
    def __init__(self, path: Path, limits: AttemptLimits | None = None) -> None:
        super().__init__(path, limits)
        self.tokens = FakeTokens()
        self.authenticator = Authenticator(
            self.directory, self.executor, Attempts(limits), self.records.append, tokens=self.tokens
        )


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[TokenSetup]:
    made = TokenSetup(tmp_path / "directory.sqlite", AttemptLimits(address=((60.0, 3),)))
    yield made
    made.directory.close()


def client(mechanism: str, user: str, token: str) -> BearerClient:
    return BearerClient(user, token, xoauth2=mechanism == "XOAUTH2", host="mail.example.org", port=993)


def test_offered_over_tls_alone_and_only_when_configured(setup: TokenSetup, tmp_path: Path) -> None:
    assert set(MECHANISMS) <= set(setup.authenticator.mechanisms(line()))
    in_clear = Line(tls=None, cleartext_auth_allowed=True)
    assert not set(MECHANISMS) & set(setup.authenticator.mechanisms(in_clear))
    without = Authenticator(setup.directory, setup.executor)
    assert not set(MECHANISMS) & set(without.mechanisms(line()))


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_never_in_clear(setup: TokenSetup, mechanism: str) -> None:
    with pytest.raises(MechanismUnknown):
        await run(
            setup, mechanism, Line(tls=None, cleartext_auth_allowed=True), client(mechanism, ALICE, "alices")
        )
    with pytest.raises(EncryptionRequired):
        await run(setup, mechanism, Line(tls=None), client(mechanism, ALICE, "alices"))
    without = Authenticator(setup.directory, setup.executor)
    with pytest.raises(MechanismUnknown):
        await without.exchange(mechanism, b"", line(), None)  # type: ignore[arg-type]
    assert setup.tokens.asked == 0


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(
    ("user", "token"), [(ALICE, "alices"), ("Alice@example.ORG", "alices"), (ALICE, "Alices")]
)
async def test_good_tokens(setup: TokenSetup, mechanism: str, user: str, token: str, initial: bool) -> None:
    account = await run(setup, mechanism, line(), client(mechanism, user, token), initial=initial)
    assert account.name == ALICE
    assert [(each.mechanism, each.login, each.outcome) for each in setup.records] == [
        (mechanism, ALICE, "ok")
    ]


async def test_a_token_alone_says_who_it_is(setup: TokenSetup) -> None:
    assert (await run(setup, "OAUTHBEARER", line(), client("OAUTHBEARER", "", "bobs"))).name == BOB


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(
    ("user", "token", "reason"),
    [
        (ALICE, "stale", "expired"),
        (ALICE, "bobs", "another user's token"),
        ("nobody@example.org", "alices", "another user's token"),
        (CAROL, "carols", "unknown or disabled"),
        ("x@y", "nobodys", "unknown or disabled"),
    ],
)
async def test_refusals(setup: TokenSetup, mechanism: str, user: str, token: str, reason: str) -> None:
    its = client(mechanism, user, token)
    with pytest.raises(AuthenticationFailed) as caught:
        await run(setup, mechanism, line(), its)
    assert caught.value.public == "Authentication failed"
    assert [each.outcome for each in setup.records] == [reason]
    told = json.loads(its.refusal)
    if mechanism == "XOAUTH2":
        assert told == {"status": "401", "schemes": "bearer", "scope": "mail"}
    else:
        assert told == {
            "status": "invalid_token", "scope": "mail", "openid-configuration": FakeTokens.configuration_url,
        }  # fmt: skip
    assert token not in repr(setup.records)


async def test_a_token_of_too_narrow_a_scope(setup: TokenSetup) -> None:
    for mechanism, status in (("XOAUTH2", "403"), ("OAUTHBEARER", "insufficient_scope")):
        its = client(mechanism, ALICE, "narrow")
        with pytest.raises(AuthenticationFailed):
            await run(setup, mechanism, line(), its)
        assert json.loads(its.refusal)["status"] == status


async def test_refusals_are_counted_even_if_the_client_leaves(setup: TokenSetup) -> None:
    async def gone(octets: bytes) -> bytes | None:
        raise ConnectionAbortedError

    first = client("XOAUTH2", ALICE, "stale").initial()
    for _ in range(3):
        with pytest.raises(ConnectionAbortedError):
            await setup.authenticator.exchange("XOAUTH2", first, line(), gone)
    assert setup.tokens.asked == 3
    with pytest.raises(TooManyAttempts):
        await run(setup, "XOAUTH2", line(), client("XOAUTH2", ALICE, "alices"))
    assert setup.tokens.asked == 3, "refused unseen"


async def test_a_client_that_cancels_after_the_refusal_is_refused_all_the_same(setup: TokenSetup) -> None:
    async def cancels(octets: bytes) -> bytes | None:
        return None

    with pytest.raises(AuthenticationFailed) as caught:
        await setup.authenticator.exchange(
            "XOAUTH2", client("XOAUTH2", ALICE, "stale").initial(), line(), cancels
        )
    assert type(caught.value) is AuthenticationFailed


async def test_an_issuer_in_trouble_is_not_counted(setup: TokenSetup) -> None:
    for _ in range(5):
        with pytest.raises(Unavailable):
            await run(setup, "OAUTHBEARER", line(), client("OAUTHBEARER", ALICE, "later"))
    assert setup.records == []
    assert (await run(setup, "OAUTHBEARER", line(), client("OAUTHBEARER", ALICE, "alices"))).name == ALICE
