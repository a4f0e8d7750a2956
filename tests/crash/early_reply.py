"""postroom with a planted mistake: a write is answered shortly before its commit instead of after it.

Run in place of ``python -m postroom`` by the test that proves that the crash test can fail.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from postroom.cli import main
from postroom.store.engines.sqlite_transaction import Group, Transactions

_commit = Transactions.commit


def _answer(future: Any, result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _commit_late(self: Transactions, group: Group) -> None:
    for future, result, error in group.answers:
        if error is None:
            future.get_loop().call_soon_threadsafe(_answer, future, result)
    time.sleep(0.03)
    _commit(self, group)


Transactions.commit = _commit_late  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
