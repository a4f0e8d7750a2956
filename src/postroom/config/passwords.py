"""The settings of passwords and of secrets like them: how they are kept, how often they may be tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postroom.config.checks import check_networks
from postroom.config.spec import Unit, setting

_MIB: Final = 1024 * 1024
_HOUR: Final = 3600


@dataclass(slots=True, frozen=True, kw_only=True)
class Auth:
    """Passwords: how they are kept, and how often they may be tried."""

    argon2_memory: int = setting(
        19 * _MIB,
        "Memory of one argon2id hash.",
        unit=Unit.OCTETS,
        minimum=8 * _MIB,
        maximum=4096 * _MIB,
    )
    argon2_time: int = setting(2, "Passes of one argon2id hash.", minimum=1, maximum=100)
    argon2_parallelism: int = setting(1, "Lanes of one argon2id hash.", minimum=1, maximum=64)
    scram_iterations: int = setting(
        16_384,
        "Iterations of SCRAM for passwords set from now on (RFC 7677 §4 asks for 4096 or more).",
        minimum=4096,
        maximum=10_000_000,
    )
    scram_sha1: bool = setting(
        True,
        "Whether SCRAM-SHA-1 and SCRAM-SHA-1-PLUS are offered behind SCRAM-SHA-256, and their keys kept. On, since many clients "
        "know no newer SCRAM and would show the password otherwise; what breaks SHA-1, collisions, does not break HMAC. Off: "
        "keys are no longer made, and those there are go with the next login that shows the password.",
    )
    cram_md5: bool = setting(
        False,
        "Whether CRAM-MD5 (RFC 2195) is offered, for users who were given a secret for it by `postroom account secret set`. Many "
        "clients prefer it to PLAIN as soon as they see it, and then fail for everybody else.",
    )
    shared_secrets_key: Path | None = setting(
        None,
        "File with the key that secrets for CRAM-MD5 and APOP are sealed with in the directory; made with the first of them. "
        "Unset: `secrets/shared-secrets-key` in the data directory. Without it they are lost: it belongs into the backup, and "
        "whoever has both can read them.",
    )
    cache_seconds: int = setting(
        60,
        "How long a successful login is remembered (in memory, keyed), so that a client with ten connections costs one "
        "hash. 0 turns it off.",
        unit=Unit.SECONDS,
        minimum=0,
        maximum=_HOUR,
    )
    slots: int = setting(
        0, "Hashes computed at once, over all workers. 0: the number of cores.", minimum=0, maximum=1024
    )
    waiters: int = setting(
        64, "Logins that may wait for a slot; more are told to try again later.", minimum=1, maximum=100_000
    )
    failures_per_ip_minute: int = setting(
        10,
        "Failed logins a minute from one IP address, as each worker counts them; three times as many from its network.",
        minimum=1,
    )
    failures_per_ip_day: int = setting(
        50, "Failed logins a day from one IP address; three times as many from its network.", minimum=1
    )
    failures_per_user_hour: int = setting(
        20, "Failed logins an hour for one user, from all addresses without a good login before.", minimum=1
    )
    ban_failures: int = setting(
        100,
        "Failed and refused logins a day, as each worker counts them, after which an IP address is banned: it is refused on all "
        "ports where people log in (`postroom ban list`). 0: nobody is banned by itself.",
        minimum=0,
        maximum=100_000,
    )
    ban_time: int = setting(
        24 * _HOUR, "How long such a ban lasts.", unit=Unit.SECONDS, minimum=60, maximum=366 * 24 * _HOUR
    )
    ban_exempt: tuple[str, ...] = setting(
        (),
        "Networks that are never banned by themselves, such as your own; loopback never is.",
        check=check_networks,
    )
    delay_minimum: int = setting(
        2, "Wait before the answer to a failed login.", unit=Unit.SECONDS, minimum=0, maximum=60
    )
    delay_maximum: int = setting(
        15, "Longest such wait, reached as failures repeat.", unit=Unit.SECONDS, minimum=0, maximum=60
    )
