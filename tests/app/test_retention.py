"""EXPIRE carried out: never early, durable, one account's trouble does not stop the others; LOGIN-DELAY's files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from postroom.app.offline import open_offline
from postroom.app.pop3 import LoginFiles, MeasureFiles, policy_of, rules_of
from postroom.app.retention import DAY, Ledger, Retention
from postroom.app.upkeep import Upkeep
from postroom.config.paths import DataDir
from postroom.config.pop3 import Pop3, Pop3Account
from postroom.config.settings import Settings
from postroom.model.account import Account
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId, ShardId, UidValidity
from postroom.model.uidset import UidSet
from postroom.session.pop3.policy import LoginsHere, Policy, Rules, Terms, TooSoon
from postroom.session.pop3.surrogates import Measure
from postroom.store.engines.memory import MemoryStore
from tests.session.pop3.stores import FaultyStore, fill, fresh_store

ANNA = Account(AccountId(1), "anna@example.org", ShardId(1))
BERT = Account(AccountId(2), "bert@example.org", ShardId(1))
START = 1_800_000_000
MESSAGE = b"Date: Mon, 1 Jan 1990 00:00:00 +0000\r\nSubject: old\r\n\r\ntext\r\n"


def uids(store: MemoryStore, account: Account) -> list[int]:
    return list(store.uids(account.id, store.mailbox(account.id, "INBOX").id))


async def test_a_message_goes_after_its_days_and_not_before(tmp_path: Path) -> None:
    store = fresh_store()
    with Ledger(tmp_path / "ledger") as ledger:
        retention = Retention(store, ledger, Policy(Terms(0, 3)))
        await fill(store, ANNA.id, [MESSAGE, MESSAGE])
        assert await retention.expire([ANNA], START) == 0
        await fill(store, ANNA.id, [MESSAGE])
        assert await retention.expire([ANNA], START + DAY) == 0
        assert await retention.expire([ANNA], START + 3 * DAY - 1) == 0
        assert uids(store, ANNA) == [1, 2, 3]
        assert await retention.expire([ANNA], START + 3 * DAY) == 2
        assert uids(store, ANNA) == [3]
        assert await retention.expire([ANNA], START + 4 * DAY - 1) == 0
        assert await retention.expire([ANNA], START + 4 * DAY) == 1
        assert await retention.expire([ANNA], START + 400 * DAY) == 0
        await fill(store, ANNA.id, [MESSAGE])
        assert await retention.expire([ANNA], START + 401 * DAY) == 0
        assert uids(store, ANNA) == [4]


async def test_the_ledger_outlives_the_process_and_its_loss_only_delays(tmp_path: Path) -> None:
    store = fresh_store()
    await fill(store, ANNA.id, [MESSAGE])
    policy = Policy(Terms(0, 1))
    with Ledger(tmp_path / "ledger") as ledger:
        await Retention(store, ledger, policy).expire([ANNA], START)
    with Ledger(tmp_path / "another") as ledger:
        assert await Retention(store, ledger, policy).expire([ANNA], START + 5 * DAY) == 0
    with Ledger(tmp_path / "ledger") as ledger:
        assert await Retention(store, ledger, policy).expire([ANNA], START + DAY) == 1


async def test_terms_of_each_account(tmp_path: Path) -> None:
    store = fresh_store()
    for account in (ANNA, BERT):
        await fill(store, account.id, [MESSAGE])
    with Ledger(tmp_path / "ledger") as ledger:
        retention = Retention(store, ledger, Policy(Terms(0, 1), {BERT.name: Terms(0, None)}))
        await retention.expire([ANNA, BERT], START)
        assert await retention.expire([ANNA, BERT], START + 1000 * DAY) == 1
        zero = Retention(store, ledger, Policy(Terms(0, 0)))
        assert await zero.expire([ANNA, BERT], START + 1000 * DAY) == 0, "0 days are QUIT's affair"
    assert uids(store, BERT) == [1]


async def test_what_is_moved_away_and_back_is_new(tmp_path: Path) -> None:
    store = fresh_store()
    await fill(store, ANNA.id, [MESSAGE])
    inbox, trash = (store.mailbox(ANNA.id, name).id for name in ("INBOX", "Trash"))
    with Ledger(tmp_path / "ledger") as ledger:
        retention = Retention(store, ledger, Policy(Terms(0, 2)))
        await retention.expire([ANNA], START)
        await store.move(ANNA.id, inbox, UidSet.of([1]), trash)
        assert await retention.expire([ANNA], START + 2 * DAY) == 0
        await store.move(ANNA.id, trash, UidSet.of([1]), inbox)
        assert await retention.expire([ANNA], START + 2 * DAY) == 0
        assert uids(store, ANNA) == [2]


async def test_an_open_maildrop_waits_and_trouble_stays_with_one_account(tmp_path: Path) -> None:
    store = FaultyStore(fresh_store())
    for account in (ANNA, BERT):
        await fill(store, account.id, [MESSAGE])
    with Ledger(tmp_path / "ledger") as ledger:
        retention = Retention(store, ledger, Policy(Terms(0, 1)))
        await retention.expire([ANNA, BERT], START)
        lease = await store.lock_maildrop(ANNA.id)
        assert await retention.expire([ANNA, BERT], START + DAY) == 1
        await lease.release()
        store.failing.add("expunge")
        assert await retention.expire([ANNA], START + DAY) == 0
        assert not store.leases
        store.failing.clear()
        assert await retention.expire([ANNA], START + DAY) == 1


def settings_of(root: Path, accounts: Sequence[Pop3Account] = ()) -> Settings:
    return Settings(
        data_dir=root, workers=1, pop3=Pop3(expire_days=2, login_delay=5, accounts=tuple(accounts))
    )


def test_upkeep_expires_in_the_store_of_the_data_directory(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "data")
    data = DataDir(settings.data_dir)
    data.make()

    async def deliver() -> AccountId:
        async with open_offline(settings) as offline:
            offline.directory.add_domain("example.org")
            account = offline.directory.add_account("anna@example.org", "correct horse battery")
            await fill(offline.store, account.id, [MESSAGE, MESSAGE])
            return account.id

    async def left(account: AccountId) -> int:
        async with open_offline(settings) as offline:
            return offline.store.mailbox(account, "INBOX").messages

    account = asyncio.run(deliver())
    upkeep = Upkeep(settings, data)
    assert upkeep.expire(START) == 0
    assert upkeep.expire(START + 2 * DAY - 1) == 0
    assert asyncio.run(left(account)) == 2
    assert upkeep.expire(START + 2 * DAY) == 2
    assert asyncio.run(left(account)) == 0
    upkeep.close()


def test_policies_follow_from_settings() -> None:
    accounts = (
        Pop3Account(name="Anna@example.org", expire_days=-1),
        Pop3Account(name="bert@example.org", login_delay=0, expire_days=0),
    )
    policy = policy_of(Pop3(login_delay=60, expire_days=30, accounts=accounts))
    assert policy.of("anna@example.org") == Terms(60, None)
    assert policy.of("bert@example.org") == Terms(0, 0)
    assert policy.of("carl@example.org") == Terms(60, 30)
    assert policy.strictest() == Terms(60, 0)
    assert policy.delay_differs
    assert policy.expire_differs
    assert policy_of(Pop3()).strictest() == Terms(0, None)
    assert not policy_of(Pop3()).expires


def test_login_times_are_shared_by_all_who_have_the_directory(tmp_path: Path) -> None:
    rules = rules_of(settings_of(tmp_path))
    another = LoginFiles(DataDir(tmp_path).pop3_logins)
    assert another.last(ANNA.id) is None
    before = rules.clock()
    rules.admit(ANNA.id, Terms(5))
    last = another.last(ANNA.id)
    assert last is not None
    assert before - 1 <= last <= rules.clock() + 1
    with pytest.raises(TooSoon):
        Rules(Policy(), another, lambda: last + 4).admit(ANNA.id, Terms(5))
    Rules(Policy(), another, lambda: last + 5).admit(ANNA.id, Terms(5))
    Rules(Policy(), another, lambda: last - 3600).admit(ANNA.id, Terms(5))  # the clock was set back
    Rules(Policy(), another, lambda: last).admit(BERT.id, Terms(5))


def test_login_times_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        LoginFiles(tmp_path / "file").note(ANNA.id, 1.0)
    with pytest.raises(Unavailable):
        Ledger(tmp_path / "file" / "ledger")
    here = LoginsHere()
    here.note(ANNA.id, 7.0)
    assert here.last(ANNA.id) == 7.0


def test_measures_are_kept_for_one_uid_validity(tmp_path: Path) -> None:
    files = MeasureFiles(tmp_path / "sizes")
    assert files.load(ANNA.id, UidValidity(7)) == Measure()
    files.save(ANNA.id, UidValidity(7), Measure(12, {3: 400}))
    assert MeasureFiles(tmp_path / "sizes").load(ANNA.id, UidValidity(7)) == Measure(12, {3: 400})
    assert files.load(ANNA.id, UidValidity(8)) == Measure()
    assert files.load(BERT.id, UidValidity(7)) == Measure()
    (tmp_path / "sizes" / "1").write_bytes(b"damaged")
    assert files.load(ANNA.id, UidValidity(7)) == Measure()
    (tmp_path / "file").write_bytes(b"")
    MeasureFiles(tmp_path / "file").save(ANNA.id, UidValidity(7), Measure())
