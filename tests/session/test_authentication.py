"""Authentication: one answer for every failure, the cache's laws and the limits' laws under a fake clock."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from postroom.model.account import Account
from postroom.model.errors import AuthenticationFailed, TooManyAttempts, Unavailable
from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import (
    AttemptRecord,
    Authenticator,
    EncryptionRequired,
    ExchangeCancelled,
    MechanismUnknown,
)
from postroom.session.transport import Peer, TlsInfo
from postroom.store.directory import Directory, NewAccount, PasswordScheme
from postroom.wire.sasl.login import LoginClient
from postroom.wire.sasl.plain import PlainClient, write_plain
from postroom.wire.sasl.registry import BY_NAME
from postroom.wire.sasl.scram import ScramClient
from tests.support.inline import InlineExecutor

CHEAP = PasswordScheme(time_cost=1, memory=8, parallelism=1, scram_iterations=4096)
PASSWORD = "correct horse battery"
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
TLS = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")


@dataclass
class Line:
    """A connection, as far as authentication looks at it."""

    peer: Peer = field(default_factory=lambda: Peer("198.51.100.7", 4000, "192.0.2.25", 993))
    tls: TlsInfo | None = TLS
    cleartext_auth_allowed: bool = False
    session_id: str = "test"

    async def flush(self) -> None: ...
    async def start_tls(self) -> None: ...
    async def start_compression(self) -> None: ...
    async def stop_compression(self) -> None: ...
    async def next_event(self) -> Any: ...
    def wake(self) -> None: ...
    def stop_reading(self) -> None: ...


def line(address: str = "198.51.100.7", port: int = 993) -> Line:
    return Line(Peer(address, 4000, "192.0.2.25", port))


class Setup:
    """An authenticator on a directory of three accounts; carol is disabled."""

    def __init__(self, path: Path, limits: AttemptLimits | None = None) -> None:
        self.now = 1_000.0
        self.path = path
        self.directory = Directory(path, CHEAP)
        self.directory.add_domain("example.org")
        outcomes = self.directory.import_accounts(
            [
                NewAccount(ALICE, PASSWORD),
                NewAccount(BOB, PASSWORD),
                NewAccount(CAROL, PASSWORD, enabled=False),
            ]
        )
        assert all(isinstance(outcome, Account) for outcome in outcomes)
        self.executor = InlineExecutor(lambda: self.now)
        self.records: list[AttemptRecord] = []
        self.authenticator = Authenticator(
            self.directory, self.executor, Attempts(limits), self.records.append
        )

    async def attempt(self, user: str = ALICE, password: str = PASSWORD, on: Line | None = None) -> str:
        """The outcome in a word: a login's name, or the class of the error."""
        try:
            return (await self.authenticator.login(user, password, on or line())).name
        except AuthenticationFailed as error:
            return type(error).__name__


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path / "directory.sqlite")
    yield made
    made.directory.close()


# --- what is offered


async def test_nothing_in_clear(setup: Setup) -> None:
    clear = Line(tls=None)
    assert setup.authenticator.mechanisms(clear) == ()
    assert not setup.authenticator.offered(clear)
    with pytest.raises(EncryptionRequired):
        await setup.authenticator.login(ALICE, PASSWORD, clear)
    with pytest.raises(EncryptionRequired):
        await run(setup, "PLAIN", clear, PlainClient(ALICE, PASSWORD))
    allowed = Line(tls=None, cleartext_auth_allowed=True)
    assert setup.authenticator.mechanisms(allowed) == ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
    assert (await setup.authenticator.login(ALICE, PASSWORD, allowed)).name == ALICE


def test_channel_binding_is_offered_where_there_is_something_to_bind_to(setup: Setup) -> None:
    bound = Line(tls=TlsInfo("TLSv1.3", "x", exporter=b"exported"))
    assert setup.authenticator.mechanisms(bound)[0] == "SCRAM-SHA-256-PLUS"
    assert setup.authenticator.mechanisms(line()) == ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")


# --- exchanges


async def run(
    setup: Setup, mechanism: str, on: Line, client: Any, *, initial: bool = True, give_up: bool = False
) -> Account:
    """Drive an exchange with one of our clients."""
    first = client.initial() if initial else None

    async def challenge(octets: bytes) -> bytes | None:
        await asyncio.sleep(0)
        return None if give_up else client.step(octets)

    return await setup.authenticator.exchange(mechanism, first, on, challenge)


EXPORTED = {"tls-exporter": b"exported"}


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize(
    ("mechanism", "client"),
    [
        ("PLAIN", lambda p: PlainClient(ALICE, p)),
        ("plain", lambda p: PlainClient(ALICE, p, authzid="ALICE@example.org")),
        ("LOGIN", lambda p: LoginClient(ALICE, p)),
        ("SCRAM-SHA-256", lambda p: ScramClient(ALICE, p)),
        ("Scram-Sha-256", lambda p: ScramClient("ALICE@Example.org", p, authzid=ALICE)),
        ("SCRAM-SHA-256-PLUS", lambda p: ScramClient(ALICE, p, EXPORTED, plus=True)),
        ("SCRAM-SHA-1", lambda p: BY_NAME["SCRAM-SHA-1"].client(ALICE, p, {})),
        ("SCRAM-SHA-1-PLUS", lambda p: BY_NAME["SCRAM-SHA-1-PLUS"].client(ALICE, p, EXPORTED)),
    ],
)
async def test_exchanges(setup: Setup, mechanism: str, client: Callable[[str], Any], initial: bool) -> None:
    on = Line(tls=TlsInfo("TLSv1.3", "x", exporter=b"exported"))
    right = client(PASSWORD)
    assert (await run(setup, mechanism, on, right, initial=initial)).name == ALICE
    assert right.complete
    with pytest.raises(AuthenticationFailed):
        await run(setup, mechanism, on, client("wrong"), initial=initial)
    assert setup.records[0].outcome == "ok"
    assert setup.records[1].account is None
    assert len(setup.records) == 2


@pytest.mark.parametrize(
    ("mechanism", "client"),
    [
        ("PLAIN", lambda: PlainClient(CAROL, PASSWORD)),
        ("PLAIN", lambda: PlainClient("nobody@example.org", PASSWORD)),
        ("PLAIN", lambda: PlainClient(ALICE, PASSWORD, authzid=BOB)),
        ("SCRAM-SHA-256", lambda: ScramClient(CAROL, PASSWORD)),
        ("SCRAM-SHA-256", lambda: ScramClient("nobody@example.org", PASSWORD)),
        ("SCRAM-SHA-256", lambda: ScramClient(ALICE, PASSWORD, authzid=BOB)),
        ("SCRAM-SHA-1", lambda: ScramClient("nobody@example.org", PASSWORD, hash_name="sha1")),
        ("SCRAM-SHA-1", lambda: ScramClient(ALICE, PASSWORD, hash_name="sha256")),
        ("LOGIN", lambda: LoginClient(CAROL, PASSWORD)),
    ],
)
async def test_refused_exchanges_tell_nothing(
    setup: Setup, mechanism: str, client: Callable[[], Any]
) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        await run(setup, mechanism, line(), client())
    assert caught.value.public == "Authentication failed"
    assert setup.executor.slept == [2.0]


async def test_cancelling_counts_nothing(setup: Setup) -> None:
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
        for _ in range(20):
            with pytest.raises(ExchangeCancelled):
                await run(setup, mechanism, line(), PlainClient("a", "b"), initial=False, give_up=True)
    assert await setup.attempt() == ALICE


async def test_unknown_mechanisms(setup: Setup) -> None:
    for name in ("CRAM-MD5", "APOP", "SCRAM-SHA-256-PLUS", "", "PLAIN "):
        with pytest.raises(MechanismUnknown):
            await run(setup, name, line(), PlainClient(ALICE, PASSWORD))


async def test_what_is_turned_off_is_neither_offered_nor_served(setup: Setup) -> None:
    setup.authenticator = Authenticator(setup.directory, setup.executor, without=("SCRAM-SHA-1", "LOGIN"))
    assert setup.authenticator.mechanisms(line()) == ("SCRAM-SHA-256", "PLAIN")
    with pytest.raises(MechanismUnknown):
        await run(setup, "SCRAM-SHA-1", line(), ScramClient(ALICE, PASSWORD, hash_name="sha1"))


async def test_keys_of_sha1_are_made_at_the_first_login_that_shows_the_password(setup: Setup) -> None:
    """A password of before: nothing but its hash and its newer keys is there."""
    older = Directory(setup.path, replace(CHEAP, scram_sha1=False))
    older.set_password(ALICE, PASSWORD)
    older.close()

    def client() -> ScramClient:
        return ScramClient(ALICE, PASSWORD, hash_name="sha1")

    with pytest.raises(AuthenticationFailed):
        await run(setup, "SCRAM-SHA-1", line(), client())
    await setup.attempt()
    assert (await run(setup, "SCRAM-SHA-1", line(), client())).name == ALICE


async def test_data_behind_the_last_challenge_is_refused(setup: Setup) -> None:
    client = ScramClient(ALICE, PASSWORD)

    async def challenge(octets: bytes) -> bytes | None:
        return client.step(octets) or b"more"

    with pytest.raises(AuthenticationFailed):
        await setup.authenticator.exchange("SCRAM-SHA-256", client.initial(), line(), challenge)


async def test_scram_failures_are_counted_and_refused(setup: Setup) -> None:
    for _ in range(10):
        with pytest.raises(AuthenticationFailed):
            await run(setup, "SCRAM-SHA-256", line(), ScramClient(ALICE, "wrong"))
    with pytest.raises(TooManyAttempts):
        await run(setup, "SCRAM-SHA-256", line(), ScramClient(ALICE, PASSWORD))
    assert setup.records[-1].outcome == "too many attempts"


async def test_errors_of_the_callback_go_through(setup: Setup) -> None:
    async def challenge(_octets: bytes) -> bytes | None:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await setup.authenticator.exchange("PLAIN", None, line(), challenge)


# --- one answer


@pytest.mark.parametrize(
    "user",
    [ALICE, CAROL, "nobody@example.org", "'", "%s", "a\0b", "x" * 65_536, "\ud800", "a\r\nb", "*)(uid=*", ""],
)
async def test_every_failure_is_the_same(setup: Setup, user: str) -> None:
    """Threats T10, T16: the text, the number of hashes, the delay."""
    with pytest.raises(AuthenticationFailed) as caught:
        await setup.authenticator.login(user, "wrong password", line())
    assert type(caught.value) is AuthenticationFailed
    assert caught.value.public == "Authentication failed"
    assert setup.executor.calls == 1
    assert setup.executor.slept == [2.0]
    assert len(setup.records[0].login) <= 254


async def test_records_hold_no_password(setup: Setup) -> None:
    await setup.attempt()
    await setup.attempt(password="hidden")
    assert PASSWORD not in repr(setup.records)
    assert "hidden" not in repr(setup.records)
    assert [record.outcome for record in setup.records] == ["ok", "wrong, unknown or disabled"]


async def test_a_full_pool_is_unavailable_and_counts_nothing(setup: Setup) -> None:
    def full() -> None:
        raise Unavailable

    setup.executor.before = full
    for _ in range(30):
        with pytest.raises(Unavailable):
            await setup.authenticator.login(ALICE, "wrong", line())
    setup.executor.before = None
    assert await setup.attempt() == ALICE


# --- the cache


async def test_ten_connections_cost_one_hash(setup: Setup) -> None:
    outcomes = await asyncio.gather(*(setup.attempt() for _ in range(10)))
    assert outcomes == [ALICE] * 10
    assert setup.executor.calls == 1
    setup.now += 59
    assert await setup.attempt() == ALICE
    assert setup.executor.calls == 1
    setup.now += 2
    assert await setup.attempt() == ALICE
    assert setup.executor.calls == 2


async def test_the_cache_mixes_nothing_up(setup: Setup) -> None:
    """Threats T15: two users with one password, two listeners, two mechanisms, borders between the parts."""
    assert await setup.attempt(ALICE) == ALICE
    assert await setup.attempt(BOB) == BOB
    assert await setup.attempt(ALICE, on=line(port=995)) == ALICE
    account = await setup.authenticator.login(ALICE, PASSWORD, line(), "USER")
    assert account.name == ALICE
    assert setup.executor.calls == 4
    assert await setup.attempt("Alice@EXAMPLE.org") == ALICE, "one login in another spelling"
    assert setup.executor.calls == 4
    assert await setup.attempt(CAROL) == "AuthenticationFailed"
    assert await setup.attempt(ALICE, PASSWORD[:-1]) == "AuthenticationFailed"
    assert await setup.attempt("alice@example.or", "g" + PASSWORD) == "AuthenticationFailed"


async def test_parallel_logins_never_meet(setup: Setup) -> None:
    """Threats T15: thousands at once, each the right mailbox or none."""
    setup.directory.import_accounts([NewAccount(f"u{n}@example.org", PASSWORD) for n in range(40)])
    names = [f"u{n % 40}@example.org" for n in range(2000)]
    outcomes = await asyncio.gather(
        *(setup.attempt(name, on=line(f"10.0.{n % 250}.1")) for n, name in enumerate(names))
    )
    assert outcomes == names


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.set_password(ALICE, "another long password"),
        lambda d: d.set_enabled(ALICE, False),
        lambda d: d.remove_account(ALICE),
    ],
)
async def test_a_change_empties_the_cache(setup: Setup, change: Callable[[Directory], object]) -> None:
    assert await setup.attempt() == ALICE
    other = Directory(setup.path, CHEAP)
    change(other)
    other.close()
    assert await setup.attempt() == "AuthenticationFailed"


async def test_refusals_are_forgotten_with_a_change(setup: Setup) -> None:
    assert await setup.attempt(password="another long password") == "AuthenticationFailed"
    setup.directory.set_password(ALICE, "another long password")
    assert await setup.attempt(password="another long password") == ALICE


async def test_an_account_disabled_while_the_hash_is_computed(setup: Setup) -> None:
    setup.executor.before = lambda: setup.directory.set_enabled(ALICE, False)
    assert await setup.attempt() == "AuthenticationFailed"
    setup.executor.before = None
    assert await setup.attempt() == "AuthenticationFailed"


async def test_a_password_changed_while_the_hash_is_computed(setup: Setup) -> None:
    def change() -> None:
        setup.executor.before = None
        setup.directory.set_password(ALICE, "another long password")

    setup.executor.before = change
    assert await setup.attempt() == "AuthenticationFailed"
    assert await setup.attempt(password="another long password") == ALICE


async def test_outdated_hashes_are_renewed_at_login(setup: Setup) -> None:
    before = setup.directory.credentials(ALICE).password_hash
    stronger = Directory(setup.path, PasswordScheme(2, 16, 1, 5000))
    authenticator = Authenticator(stronger, setup.executor)
    assert (await authenticator.login(ALICE, PASSWORD, line())).name == ALICE
    renewed = stronger.credentials(ALICE)
    assert renewed.password_hash != before
    assert not renewed.outdated
    with pytest.raises(AuthenticationFailed):
        await authenticator.login(BOB, "wrong", line())
    assert stronger.credentials(BOB).outdated, "a wrong password renews nothing"
    stronger.close()


# --- limits


async def test_an_address_has_ten_failures_a_minute(setup: Setup) -> None:
    for n in range(10):
        assert await setup.attempt(f"u{n}@example.org", "wrong") == "AuthenticationFailed"
    assert await setup.attempt() == "TooManyAttempts", "even with the right password"
    assert setup.executor.calls == 10, "refused unseen"
    assert await setup.attempt(on=line("203.0.113.9")) == ALICE, "nobody else is kept out"
    setup.now += 61
    assert await setup.attempt() == ALICE


async def test_an_address_has_fifty_failures_a_day(setup: Setup) -> None:
    for n in range(50):
        assert await setup.attempt(f"u{n}@example.org", "wrong") == "AuthenticationFailed"
        setup.now += 30
    assert await setup.attempt() == "TooManyAttempts"
    setup.now += 3_600
    assert await setup.attempt() == "TooManyAttempts"
    setup.now += 86_400
    assert await setup.attempt() == ALICE


async def test_a_network_has_three_times_as_many(setup: Setup) -> None:
    for n in range(30):
        assert (
            await setup.attempt(f"u{n}@example.org", "wrong", line(f"198.51.100.{n}"))
            == "AuthenticationFailed"
        )
    assert await setup.attempt(on=line("198.51.100.200")) == "TooManyAttempts"
    assert await setup.attempt(on=line("198.51.101.200")) == ALICE


async def test_an_ipv6_network_is_a_64(setup: Setup) -> None:
    for n in range(30):
        await setup.attempt(f"u{n}@example.org", "wrong", line(f"2001:db8:1:2::{n + 1:x}"))
    assert await setup.attempt(on=line("2001:db8:1:2:ffff::1")) == "TooManyAttempts"
    assert await setup.attempt(on=line("2001:db8:1:3::1")) == ALICE


async def test_the_same_wrong_password_counts_once(setup: Setup) -> None:
    """Threats T9: a telephone with last year's password keeps nobody out, and costs one hash a minute."""
    for _ in range(200):
        assert await setup.attempt(password="last year's") == "AuthenticationFailed"
        setup.now += 1
    assert setup.executor.calls <= 5
    assert await setup.attempt() == ALICE


async def test_success_takes_no_failure_back(setup: Setup) -> None:
    for n in range(9):
        await setup.attempt(f"u{n}@example.org", "wrong")
    assert await setup.attempt() == ALICE
    await setup.attempt("u10@example.org", "wrong")
    assert await setup.attempt() == "TooManyAttempts"


async def test_an_attacked_account_stays_open_for_its_owner(setup: Setup) -> None:
    """Threats T9: 500 addresses guess at one account; they get one guess an hour and network, the owner gets in."""
    home = line("203.0.113.9")
    assert await setup.attempt(on=home) == ALICE
    admitted = 0
    for n in range(500):
        for guess in range(3):
            outcome = await setup.attempt(
                password=f"guess {n} {guess}", on=line(f"10.{n // 250}.{n % 250}.1")
            )
            admitted += outcome == "AuthenticationFailed"
    assert admitted <= 20 + 500
    calls = setup.executor.calls
    assert await setup.attempt(password="mistyped", on=home) == "AuthenticationFailed"
    assert await setup.attempt(on=home) == ALICE, "a known network, mistyping and all"
    assert await setup.attempt(on=line("192.0.2.77")) == ALICE, "a new network, at the first attempt"
    assert setup.executor.calls > calls
    assert await setup.attempt(BOB, on=home) == BOB


async def test_guesses_at_once_are_counted_one_by_one(setup: Setup) -> None:
    outcomes = await asyncio.gather(*(setup.attempt(password=f"guess {n}") for n in range(100)))
    assert outcomes.count("AuthenticationFailed") == 10
    assert setup.executor.calls == 10


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "", "::ffff:127.0.0.1"])
async def test_loopback_is_never_kept_out(setup: Setup, address: str) -> None:
    for n in range(60):
        assert await setup.attempt(password=f"wrong {n}", on=line(address)) == "AuthenticationFailed"
    assert await setup.attempt(on=line(address)) == ALICE
    assert setup.executor.slept == []


async def test_mapped_addresses_are_the_ipv4_ones(setup: Setup) -> None:
    for n in range(30):
        await setup.attempt(f"u{n}@example.org", "wrong", line(f"::ffff:198.51.100.{n}"))
    assert await setup.attempt(on=line("198.51.100.99")) == "TooManyAttempts"


async def test_the_tarpit_grows_to_its_limit(setup: Setup) -> None:
    for n in range(10):
        await setup.attempt(password=f"wrong {n}")
    assert setup.executor.slept == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 15.0, 15.0, 15.0]
    await setup.attempt()
    assert setup.executor.slept[-1] == 15.0


def test_memory_is_bounded() -> None:
    attempts = Attempts(AttemptLimits(capacity=100))
    for n in range(5_000):
        address = f"10.{n // 65_536}.{n // 256 % 256}.{n % 256}"
        attempts.failed(address, f"user{n}", float(n), b"%d" % n)
        attempts.succeeded(address, f"user{n}")
    for counter in (
        attempts._address,
        attempts._network,
        attempts._user,
        attempts._pair,
        attempts._strangers,
    ):
        assert len(counter) <= 100
    assert len(attempts._known) <= 100
    assert len(attempts._digests) <= 100


async def test_turns_are_given_back(setup: Setup) -> None:
    await setup.attempt()
    await setup.attempt(password="wrong")
    setup.executor.before = lambda: (_ for _ in ()).throw(Unavailable())
    with pytest.raises(Unavailable):
        await setup.authenticator.login(BOB, PASSWORD, line())
    assert len(setup.authenticator._turns) == 0


async def test_what_plain_cannot_parse_is_a_failure(setup: Setup) -> None:
    async def challenge(_octets: bytes) -> bytes | None:
        raise AssertionError

    for message in (b"", b"\0\0", b"\xff", b64decode("AGFsaWNl")):
        with pytest.raises(AuthenticationFailed):
            await setup.authenticator.exchange("PLAIN", message, line(), challenge)
    account = await setup.authenticator.exchange("PLAIN", write_plain("", ALICE, PASSWORD), line(), challenge)
    assert account.name == ALICE


# --- app passwords


async def nothing(_challenge: bytes) -> bytes | None:
    """The client has no more to say."""
    return None


async def test_an_app_password_opens_its_protocols_alone(setup: Setup) -> None:
    made = setup.directory.add_app_password(ALICE, "telephone", ["imap"], 60)
    start = made.entry.created
    clock = [start]
    authenticator = Authenticator(setup.directory, setup.executor, wall_clock=lambda: clock[0])

    async def attempt(service: str, user: str = ALICE) -> bool:
        try:
            return bool(await authenticator.login(user, made.password, line(), "LOGIN", service))
        except AuthenticationFailed as error:
            said.add(error.public)
            return False

    said: set[str] = set()
    before = setup.executor.calls
    assert await attempt("imap")
    assert setup.executor.calls == before, "nothing slow is computed for it"
    assert not await attempt("pop")
    assert not await attempt("imap", BOB)
    assert setup.executor.calls == before + 2, "a failure costs what any failure costs"
    setup.authenticator = authenticator
    with pytest.raises(AuthenticationFailed):
        await run(setup, "PLAIN", line(), PlainClient(ALICE, made.password))  # for no protocol in particular
    initial = PlainClient(ALICE, made.password).initial()
    assert (await authenticator.exchange("PLAIN", initial, line(), nothing, "imap")).name == ALICE
    clock[0] = start + 60
    assert not await attempt("imap")
    clock[0] = start + 59
    setup.directory.set_enabled(ALICE, False)
    assert not await attempt("imap")
    setup.directory.set_enabled(ALICE, True)
    assert await attempt("imap")
    assert said == {"Authentication failed"}
    setup.directory.revoke_app_password(ALICE, "telephone")
    assert not await attempt("imap")
