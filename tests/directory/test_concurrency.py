"""Several processes and threads on one directory: everybody's change arrives, nobody waits for ever."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from postroom.model.account import Account
from postroom.model.address import Address
from postroom.store.directory import Directory, NewAccount
from tests.directory.conftest import CHEAP

PASSWORD = "correct horse battery"

OPENER = """
import sys
from pathlib import Path
from postroom.store.directory import Directory, EntryExists, PasswordScheme
path, name = Path(sys.argv[1]), sys.argv[2]
sys.stdin.read(1)
directory = Directory(path, PasswordScheme(1, 8, 1, 4096))
try:
    directory.add_domain("example.org")
except EntryExists:
    pass
for n in range(5):
    directory.add_account(f"{name}-{n}@example.org", "correct horse battery")
    assert directory.account(f"{name}-{n}@example.org") is not None
print(len(list(directory.accounts())))
"""


def test_processes_that_start_at_once_share_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(path), f"p{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        )
        for n in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=120) for process in processes]
    assert [(process.returncode, error) for process, (_, error) in zip(processes, outcomes, strict=True)] == [
        (0, b"")
    ] * 4
    directory = Directory(path, CHEAP)
    accounts = list(directory.accounts())
    assert len(accounts) == 20
    assert len({account.id for account in accounts}) == 20
    directory.close()


def test_threads_write_while_the_loop_reads(directory: Directory) -> None:
    def write(number: int) -> Account:
        return directory.add_account(f"t{number}@example.org", PASSWORD)

    with ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(write, number) for number in range(40)]
        while not all(each.done() for each in pending):
            assert directory.is_local_domain("example.org")
            directory.credentials("t1@example.org")
    made = [each.result() for each in pending]
    assert len({account.id for account in made}) == 40
    assert [directory.account(account.name) for account in made] == made


def test_the_cache_is_bounded(directory: Directory) -> None:
    for n in range(60_000):
        directory.is_local_domain(f"d{n}.example")
    assert len(directory._cache) <= 50_000
    assert directory.is_local_domain("example.org")


def test_many_accounts_are_found_quickly_enough_to_test(directory: Directory) -> None:
    """Look-ups do not depend on how many there are: one import, then every one is found under its own id."""
    stored = CHEAP.hash(PASSWORD)
    rows = [NewAccount(f"user{n}@example.org", password_hash=stored) for n in range(5_000)]
    outcomes = directory.import_accounts(rows)
    for row, outcome in zip(rows, outcomes, strict=True):
        assert isinstance(outcome, Account)
        local = row.name.partition("@")[0]
        assert directory.resolve(Address(local, "example.org")).local[0].account == outcome
