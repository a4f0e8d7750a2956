"""Who in this process wants to know that an account changed.

Invariants: an announcement is a hint and costs nothing when nobody watches the account. All calls happen on one thread.

It must not know: where announcements come from (an engine here, a wake-up from another worker).
"""

from __future__ import annotations

from collections.abc import Callable

from postroom.model.ids import AccountId, Modseq


class LocalWatch:
    """The Watch of one process: ``announce`` is called by engines and by whoever hears from other processes."""

    def __init__(self) -> None:
        self._wakes: dict[AccountId, dict[object, Callable[[Modseq], None]]] = {}

    def subscribe(self, account: AccountId, wake: Callable[[Modseq], None]) -> Callable[[], None]:
        """Call ``wake`` after changes of the account; the function returned ends it and may be called twice."""
        key = object()
        self._wakes.setdefault(account, {})[key] = wake

        def end() -> None:
            wakes = self._wakes.get(account)
            if wakes is not None:
                wakes.pop(key, None)
                if not wakes:
                    self._wakes.pop(account, None)

        return end

    def announce(self, account: AccountId, modseq: Modseq) -> None:
        """Wake everybody who watches the account."""
        wakes = self._wakes.get(account)
        if wakes:
            for wake in tuple(wakes.values()):
                wake(modseq)
