"""EXTERNAL and channel binding in exchanges: whose certificate it is, and which stripping is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.model.errors import AuthenticationFailed, TooManyAttempts
from postroom.session.attempts import AttemptLimits
from postroom.session.authentication import Authenticator, MechanismUnknown
from postroom.session.external import MAX_NAMES, CertificateName, names_in
from postroom.session.transport import ClientCertificate, TlsInfo
from postroom.wire.sasl.external import ExternalClient
from postroom.wire.sasl.scram import ScramClient
from tests.session.test_authentication import ALICE, BOB, CAROL, PASSWORD, Line, Setup, line, run

EVERY_KIND = tuple(CertificateName)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path / "directory.sqlite", AttemptLimits(address=((60.0, 3),)))
    yield made
    made.directory.close()


def shown(*mailboxes: str, emails: tuple[str, ...] = (), common_names: tuple[str, ...] = ()) -> Line:
    return Line(tls=TlsInfo("TLSv1.3", "x", certificate=ClientCertificate(mailboxes, emails, common_names)))


def test_offered_to_whoever_has_shown_a_certificate(setup: Setup) -> None:
    assert setup.authenticator.mechanisms(shown(ALICE))[0] == "EXTERNAL"
    assert "EXTERNAL" in setup.authenticator.mechanisms(shown())
    assert "EXTERNAL" not in setup.authenticator.mechanisms(line())
    assert "EXTERNAL" not in setup.authenticator.mechanisms(Line(tls=None, cleartext_auth_allowed=True))


async def test_not_offered_is_not_taken(setup: Setup) -> None:
    for on in (line(), Line(tls=None, cleartext_auth_allowed=True)):
        with pytest.raises(MechanismUnknown):
            await run(setup, "EXTERNAL", on, ExternalClient(ALICE))


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize(
    ("mailboxes", "authzid", "name"),
    [
        ((ALICE,), "", ALICE),
        ((ALICE,), "Alice@Example.ORG", ALICE),
        (("ALICE@EXAMPLE.org",), "", ALICE),
        ((ALICE, "Alice@example.org"), "", ALICE),
        (("elsewhere@example.com", BOB), "", BOB),
        ((ALICE, BOB), BOB, BOB),
    ],
)
async def test_whose_certificate_it_is(
    setup: Setup, mailboxes: tuple[str, ...], authzid: str, name: str, initial: bool
) -> None:
    account = await run(setup, "EXTERNAL", shown(*mailboxes), ExternalClient(authzid), initial=initial)
    assert account.name == name
    assert [(each.mechanism, each.login, each.outcome) for each in setup.records] == [
        ("EXTERNAL", name, "ok")
    ]


@pytest.mark.parametrize(
    ("mailboxes", "authzid", "reason"),
    [
        ((), "", "a certificate of nobody, or disabled"),
        ((), ALICE, "a certificate of nobody, or disabled"),
        (("nobody@example.org",), "", "a certificate of nobody, or disabled"),
        ((CAROL,), "", "a certificate of nobody, or disabled"),
        ((ALICE,), BOB, "a certificate of nobody, or disabled"),
        ((ALICE,), "nobody@example.org", "a certificate of nobody, or disabled"),
        ((ALICE, BOB), "", "a certificate of several accounts"),
        ((ALICE,), "x" * 256, "EXTERNAL: an overlong name, or a NUL in it"),
        ((ALICE,), ALICE + "\0", "EXTERNAL: an overlong name, or a NUL in it"),
    ],
)
async def test_refusals(setup: Setup, mailboxes: tuple[str, ...], authzid: str, reason: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        await run(setup, "EXTERNAL", shown(*mailboxes), ExternalClient(authzid))
    assert caught.value.public == "Authentication failed"
    assert [each.outcome for each in setup.records] == [reason]


async def test_refusals_are_counted(setup: Setup) -> None:
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            await run(setup, "EXTERNAL", shown(ALICE), ExternalClient(BOB))
    with pytest.raises(TooManyAttempts):
        await run(setup, "EXTERNAL", shown(ALICE), ExternalClient())


async def test_only_the_configured_kinds_of_names_count(setup: Setup) -> None:
    on = shown(emails=(ALICE,), common_names=(BOB,))
    with pytest.raises(AuthenticationFailed):
        await run(setup, "EXTERNAL", on, ExternalClient())
    setup.authenticator = Authenticator(
        setup.directory, setup.executor, certificate_names=(CertificateName.COMMON_NAME,)
    )
    assert (await run(setup, "EXTERNAL", on, ExternalClient())).name == BOB


def test_names_in_a_certificate() -> None:
    certificate = ClientCertificate(("a", "b", "a"), ("b", "c"), ("d",))
    assert names_in(certificate, EVERY_KIND) == ["a", "b", "c", "d"]
    assert names_in(certificate, EVERY_KIND[::-1]) == ["d", "b", "c", "a"]
    assert len(names_in(ClientCertificate(tuple(map(str, range(1000)))), EVERY_KIND)) == MAX_NAMES


# --- channel binding

END_POINT = {"tls-server-end-point": b"hash of our certificate"}
BOUND = Line(tls=TlsInfo("TLSv1.3", "x", end_point=END_POINT["tls-server-end-point"]))


async def test_a_login_bound_to_the_certificate(setup: Setup) -> None:
    assert setup.authenticator.mechanisms(BOUND)[0] == "SCRAM-SHA-256-PLUS"
    client = ScramClient(ALICE, PASSWORD, END_POINT, plus=True)
    assert (await run(setup, "SCRAM-SHA-256-PLUS", BOUND, client)).name == ALICE


@pytest.mark.parametrize(
    ("mechanism", "client", "reason"),
    [
        (
            "SCRAM-SHA-256-PLUS",
            lambda: ScramClient(ALICE, PASSWORD, {"tls-server-end-point": b"another's"}, plus=True),
            "SCRAM: channel-bindings-dont-match",
        ),
        (
            "SCRAM-SHA-256-PLUS",
            lambda: ScramClient(ALICE, PASSWORD, {"tls-exporter": b"x"}, plus=True),
            "SCRAM: unsupported-channel-binding-type",
        ),
        (
            "SCRAM-SHA-256-PLUS",
            lambda: ScramClient(ALICE, PASSWORD),
            "SCRAM: the channel-binding flag does not fit the mechanism",
        ),
        (
            "SCRAM-SHA-256",
            lambda: ScramClient(ALICE, PASSWORD, END_POINT, offered_plus=False),
            "SCRAM: server-does-support-channel-binding",
        ),
    ],
)
async def test_what_a_man_in_the_middle_would_cause(
    setup: Setup, mechanism: str, client: object, reason: str
) -> None:
    assert callable(client)
    with pytest.raises(AuthenticationFailed):
        await run(setup, mechanism, BOUND, client())
    assert [each.outcome for each in setup.records] == [reason]


async def test_binding_can_be_turned_off(setup: Setup) -> None:
    setup.authenticator = Authenticator(setup.directory, setup.executor, channel_binding=False)
    assert setup.authenticator.mechanisms(BOUND) == ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
    unaware = ScramClient(ALICE, PASSWORD, END_POINT, offered_plus=False)
    assert (await run(setup, "SCRAM-SHA-256", BOUND, unaware)).name == ALICE
