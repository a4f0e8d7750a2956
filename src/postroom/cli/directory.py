"""The directory of accounts, opened with the settings in effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from postroom.cli.target import current
from postroom.config.passwords import Auth
from postroom.config.settings import Settings
from postroom.store.directory import Directory, PasswordScheme


def password_scheme(auth: Auth) -> PasswordScheme:
    """How new passwords are hashed."""
    return PasswordScheme(
        time_cost=auth.argon2_time,
        memory=auth.argon2_memory // 1024,
        parallelism=auth.argon2_parallelism,
        scram_iterations=auth.scram_iterations,
        scram_sha1=auth.scram_sha1,
    )


@contextmanager
def open_directory(settings: Settings | None = None) -> Iterator[Directory]:
    """The directory of the data directory that the command line names, which must have been made.

    Raises Failed, ConfigErrors, Unavailable.
    """
    chosen = settings or current().settings()
    data = current().data(chosen)
    directory = Directory(
        data.directory,
        password_scheme(chosen.auth),
        chosen.delivery.recipient_delimiter,
        secrets_key=chosen.auth.shared_secrets_key or data.shared_secrets_key,
    )
    try:
        yield directory
    finally:
        directory.close()
