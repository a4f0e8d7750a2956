"""What the directory holds and answers, as values, with its errors.

It must not know: SQL, protocols.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.credentials import ScramKeys
from postroom.model.errors import PostroomError
from postroom.store.app_passwords import AppPassword, fits
from postroom.store.directory_passwords import PasswordScheme
from postroom.store.directory_secrets import SharedSecret


class NoSuchEntry(PostroomError):
    """The directory has no such domain, account, alias or sender address."""

    default_public = "No such entry"


class EntryExists(PostroomError):
    """The name is taken."""

    default_public = "The name is taken"


@dataclass(slots=True, frozen=True)
class Domain:
    """A domain mail is received for; ``catch_all`` is the address that gets what nobody else does, or None."""

    name: str
    catch_all: str | None = None


@dataclass(slots=True, frozen=True)
class Alias:
    """An address that stands for others, local or remote."""

    address: str
    targets: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class LocalTarget:
    """An account that gets a message; ``detail`` is the sub-address it was written to, empty for none."""

    account: Account
    detail: str = ""


@dataclass(slots=True, frozen=True)
class Resolution:
    """Everyone a recipient address stands for, each once, in order of first mention."""

    local: tuple[LocalTarget, ...] = ()
    remote: tuple[Address, ...] = ()


@dataclass(slots=True, frozen=True)
class NewAccount:
    """A row to add. ``password_hash`` (argon2 in PHC form, from another system) is taken instead of a password; such an
    account gets its SCRAM keys at the first login that shows the password."""

    name: str
    password: str = field(default="", repr=False)
    quota: int = 0
    enabled: bool = True
    password_hash: str = field(default="", repr=False)


@dataclass(slots=True, frozen=True, repr=False)
class Credentials:
    """What a login is verified against. Unknown logins have them too, with ``account`` None: the same work, never right."""

    login: str
    account: Account | None
    password_hash: str
    scram: ScramKeys
    scram_sha1: ScramKeys
    has_scram: bool
    has_scram_sha1: bool
    scheme: PasswordScheme
    secret: SharedSecret
    app_passwords: tuple[AppPassword, ...] = ()

    def has_app_password(self, password: str, service: str, now: float) -> bool:
        """Whether a password is one of the account's app passwords, good for the protocol now (seconds since 1970). Costs next
        to nothing. Says nothing about ``account.enabled``."""
        return bool(self.app_passwords) and fits(self.app_passwords, password, service, now)

    @property
    def has_shared_secret(self) -> bool:
        """Whether ``shared_secret`` is the account's own."""
        return self.secret.sealed is not None

    def shared_secret(self) -> bytes:
        """The octets of the secret for CRAM-MD5 and APOP; octets nobody knows for who has none, after the same work. Reads a
        small file, safe in any thread. Says nothing about ``account.enabled``. Raises Unavailable."""
        return self.secret.read()

    def verify(self, password: str) -> bool:
        """Whether the password fits; blocks for tens of milliseconds, safe in any thread, equally long for every outcome.
        Says nothing about ``account.enabled``."""
        fits = self.scheme.verify(self.password_hash, password)
        return fits and self.account is not None

    @property
    def outdated(self) -> bool:
        """Whether a password just verified should be stored anew: under other parameters, or with other keys."""
        if self.account is None:
            return False
        if not self.has_scram or self.has_scram_sha1 is not self.scheme.scram_sha1:
            return True
        return self.scheme.outdated(self.password_hash, self.scram) or (
            self.has_scram_sha1 and self.scram_sha1.iterations != self.scheme.scram_iterations
        )

    def __repr__(self) -> str:
        return f"Credentials({self.login!r}, {self.account!r})"
