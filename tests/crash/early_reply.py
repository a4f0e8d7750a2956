"""postroom with a planted mistake: a write is answered shortly before its commit instead of after it.

Run in place of ``python -m postroom`` by the test that proves that the crash test can fail.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from postroom.cli import main
from postroom.store.engines.sqlite import SqliteShard

_transact = SqliteShard._transact


class _EarlyConnection:
    """A connection whose COMMIT is announced before it is done."""

    def __init__(self, shard: Any, answers: list[Any], announced: dict[Any, Any]) -> None:
        self._db = shard._db
        self._shard = shard
        self._answers = answers
        self._announced = announced

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *bindings: Any) -> Any:
        if sql == "COMMIT":
            self._shard._answer(list(self._answers), dict(self._announced))
            self._answers.clear()
            time.sleep(0.03)
        return self._db.execute(sql, *bindings)


def _early(self: Any, batch: Any, answers: Any, announced: Any, *, savepoints: bool) -> None:
    real = self._db
    self._db = _EarlyConnection(self, answers, announced)
    try:
        _transact(self, batch, answers, announced, savepoints=savepoints)
    finally:
        self._db = real


SqliteShard._transact = _early  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
