"""The settings of POP3 maildrops: how often a user may log in, how long mail stays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from postroom.config.spec import Unit, setting

_DAY: Final = 86_400
_NEVER: Final = -1


class Pop3Language(StrEnum):
    """Languages of reply texts."""

    ENGLISH = "en"
    FRENCH = "fr"
    GERMAN = "de"
    SPANISH = "es"


@dataclass(slots=True, frozen=True, kw_only=True)
class Pop3Account:
    """What differs for one account. Unset: as for everybody."""

    name: str = setting("", "The account, `user@domain`.")
    login_delay: int | None = setting(
        None, "Least time between two logins.", unit=Unit.SECONDS, minimum=0, maximum=_DAY
    )
    expire_days: int | None = setting(
        None, "Days that messages stay in INBOX; -1: for ever.", minimum=_NEVER, maximum=36_500
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Pop3:
    """POP3 maildrops (RFC 2449 §6.5, §6.7)."""

    login_delay: int = setting(
        0,
        "Least time between two logins of an account, over all workers (LOGIN-DELAY). A login that comes too soon is refused.",
        unit=Unit.SECONDS,
        minimum=0,
        maximum=_DAY,
    )
    expire_days: int = setting(
        _NEVER,
        "Days that messages stay in INBOX (EXPIRE), counted from when the server first saw them there; then they are "
        "removed, read or not. 0: QUIT removes what RETR has sent, nothing else goes. -1: they stay for ever.",
        minimum=_NEVER,
        maximum=36_500,
    )
    language: Pop3Language = setting(
        Pop3Language.ENGLISH, "The language of reply texts until a client asks for another one (LANG)."
    )
    accounts: tuple[Pop3Account, ...] = ()
