"""The layout of the data directory.

Purpose: every name in it is spelled here and nowhere else.

Invariants: nothing here touches the disk except ``make``; everything made is for its owner alone (0700, 0600).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONFIG_NAME: Final = "postroom.toml"

UNIX_SOCKET_LIMIT: Final = 107
"""Octets in the path of a unix socket (sockaddr_un on Linux, without the final NUL)."""


@dataclass(slots=True, frozen=True)
class DataDir:
    """Names every file and directory below ``root``."""

    root: Path

    @property
    def config(self) -> Path:
        """The configuration that belongs to this directory."""
        return self.root / CONFIG_NAME

    @property
    def directory(self) -> Path:
        """Domains, accounts, aliases and credentials."""
        return self.root / "directory.sqlite"

    @property
    def shards(self) -> Path:
        """One database per shard."""
        return self.root / "shards"

    def shard(self, number: int) -> Path:
        """The database of one shard, counted from 0."""
        return self.shards / f"{number}.sqlite"

    @property
    def searches(self) -> Path:
        """One full-text index per shard."""
        return self.root / "search"

    def search(self, number: int) -> Path:
        """The full-text index of one shard, counted from 0."""
        return self.searches / f"{number}.sqlite"

    @property
    def blobs(self) -> Path:
        """Messages too large for the databases."""
        return self.root / "blobs"

    @property
    def tls(self) -> Path:
        """Certificates and keys."""
        return self.root / "tls"

    @property
    def certificate(self) -> Path:
        """The certificate that is served when none is configured."""
        return self.tls / "cert.pem"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.tls / "key.pem"

    @property
    def secrets(self) -> Path:
        """Keys made by postroom for itself, and the first account's password."""
        return self.root / "secrets"

    @property
    def server_key(self) -> Path:
        """The key behind stable fake salts and the cache of logins."""
        return self.secrets / "server-key"

    @property
    def shared_secrets_key(self) -> Path:
        """The key that secrets for CRAM-MD5 and APOP are sealed with, where no other file is configured."""
        return self.secrets / "shared-secrets-key"

    @property
    def first_account(self) -> Path:
        """Name and password of the account made at the first start: two lines."""
        return self.secrets / "first-account"

    @property
    def run(self) -> Path:
        """Sockets, locks and state of the running server."""
        return self.root / "run"

    @property
    def state(self) -> Path:
        """What the running server says of itself: read by ``postroom status``."""
        return self.run / "state.json"

    @property
    def lock(self) -> Path:
        """Locked while a process works on this directory."""
        return self.run / "lock"

    @property
    def lmtp_socket(self) -> Path:
        """LMTP for local programs."""
        return self.run / "lmtp.sock"

    @property
    def control_socket(self) -> Path:
        """The parent's control socket."""
        return self.run / "control.sock"

    def worker_socket(self, number: int) -> Path:
        """Where one worker takes writes for its shards from the others."""
        return self.run / f"worker-{number}.sock"

    def watch_socket(self, number: int) -> Path:
        """Where one worker is told of changes, by datagram."""
        return self.run / f"watch-{number}.sock"

    @property
    def pop3_logins(self) -> Path:
        """A file for each account that LOGIN-DELAY concerns: when it logged in last."""
        return self.root / "pop3-logins"

    @property
    def pop3_unique_ids(self) -> Path:
        """Unique ids that messages had on another server, a file for each account."""
        return self.root / "pop3-unique-ids"

    @property
    def pop3_sizes(self) -> Path:
        """A file for each account with what POP3 found out about its messages; it may be removed at any time."""
        return self.root / "pop3-sizes"

    @property
    def retention(self) -> Path:
        """What was in INBOX when, for accounts whose messages expire."""
        return self.root / "retention.sqlite"

    @property
    def journals(self) -> Path:
        """How far imports and exports came, so that they can go on."""
        return self.root / "journals"

    def directories(self) -> tuple[Path, ...]:
        """Everything that must exist before postroom starts, outermost first."""
        return (
            self.root,
            self.shards,
            self.searches,
            self.blobs,
            self.tls,
            self.secrets,
            self.run,
            self.journals,
        )

    def make(self) -> None:
        """Make the directories that are missing, for the owner alone. Raises OSError."""
        for directory in self.directories():
            directory.mkdir(mode=0o700, parents=directory == self.root, exist_ok=True)

    def too_long_for_sockets(self) -> bool:
        """Whether unix sockets below this directory would have names longer than the kernel takes."""
        return len(bytes(self.watch_socket(999))) > UNIX_SOCKET_LIMIT
