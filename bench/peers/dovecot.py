"""Dovecot 2.3 with mdbox or Maildir.

Tuned as its documentation advises for many short sessions: login processes and mail processes that stay, limits raised, the
authentication cache on. Its durability stays as it is by default (fsync when mail is delivered or appended).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench import install
from bench.server import ACCOUNTS, DOMAIN, PASSWORD, Server, Unavailable, free_ports
from postroom.store.directory_passwords import PasswordScheme

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap pop3 lmtp
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = 10M
auth_cache_verify_password_with_worker = yes
auth_failure_delay = 0
mail_location = {location}
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 0
default_client_limit = 20000
default_process_limit = 4096
default_vsz_limit = 0
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 4
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {imaps}
  }}
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 4
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap {{
  service_count = 256
  process_limit = 4096
  process_min_avail = 16
}}
service pop3 {{
  service_count = 256
  process_limit = 4096
  process_min_avail = 16
}}
service lmtp {{
  process_min_avail = 16
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service anvil {{
  client_limit = 20000
}}
service auth {{
  client_limit = 20000
}}
service stats {{
  client_limit = 20000
}}
"""

_LOCATIONS = {"mdbox": "mdbox:~/mdbox", "maildir": "maildir:~/Maildir"}


class Dovecot(Server):
    """With ``style`` for ``mail_location``. Accounts named argon have argon2id hashes, the others plain passwords."""

    services = frozenset({"lmtp", "pop3", "imap", "imaps", "argon2id"})

    def __init__(self, folder: Path, cores: Sequence[int] = (), *, style: str = "mdbox") -> None:
        super().__init__(folder, cores)
        self.name = f"Dovecot {style}"
        self._style = style

    def twin(self, folder: Path) -> Server:
        """Another one that keeps mail in the same way."""
        return Dovecot(folder, self.cores, style=self._style)

    def start(self) -> None:
        program = install.dovecot()
        if os.geteuid() != 0:
            raise Unavailable("its processes become other users: it must be started by root")
        self.folder.mkdir(parents=True)
        # Its processes become other users.
        for path in (self.folder, *self.folder.parents[:1]):
            path.chmod(0o755)
        mail = self.folder / "mail"
        mail.mkdir()
        owner = pwd.getpwnam("mail")
        shutil.chown(mail, "mail", owner.pw_gid)
        services = ("imap", "imaps", "pop3", "lmtp")
        self.ports = dict(zip(services, free_ports(len(services)), strict=True))
        users = self.folder / "users"
        hashed = PasswordScheme().hash(PASSWORD)
        users.write_text(
            "".join(
                f"{name}@{DOMAIN}:{'{ARGON2ID}' + hashed if name.startswith('argon') else '{PLAIN}' + PASSWORD}::::::\n"
                for name in ACCOUNTS
            )
        )
        users.chmod(0o644)
        certificate = self.folder / "cert.pem"
        make_certificate(certificate, self.folder / "key.pem")
        config = self.folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(
                folder=self.folder,
                location=_LOCATIONS[self._style],
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                **self.ports,
            )
        )
        self.launch([str(program), "-F", "-c", str(config)])
        self.wait_until_it_answers()

    def last_words(self) -> str:
        """The end of its logs."""
        path = self.folder / "dovecot.log"
        return super().last_words() + (path.read_text(errors="replace")[-800:] if path.exists() else "")


def make_certificate(certificate: Path, key: Path) -> None:
    """A self-signed ECDSA certificate for localhost, as postroom makes one."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
