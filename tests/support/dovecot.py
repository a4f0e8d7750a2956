"""Debian's Dovecot on free ports of the loopback, its mail in a folder of its own.

Started by root its processes become the user ``mail``; started by anybody else they stay what they are. The folder is not one of
pytest's: every pytest that starts closes those to other users again.
"""

from __future__ import annotations

import getpass
import grp
import imaplib
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import pytest

from tests.support.live import DOMAIN, PASSWORD

PROGRAM: Final = "/usr/sbin/dovecot"
_PARTS: Final = tuple(Path("/usr/lib/dovecot") / name for name in ("imap", "pop3"))
_SERVICES: Final = ("imap", "imaps", "pop3", "pop3s")

CONFIG: Final = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {log}
protocols = imap pop3
listen = 127.0.0.1
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
mail_location = mdbox:~/mdbox
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
first_valid_gid = 0
mail_max_userip_connections = 0
{unprivileged}
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
  separator = .
  mailbox Sent {{
    special_use = \\Sent
    auto = subscribe
  }}
  mailbox Drafts {{
    special_use = \\Drafts
    auto = subscribe
  }}
  mailbox Bin {{
    special_use = \\Trash
    auto = subscribe
  }}
  mailbox Spam {{
    special_use = \\Junk
    auto = subscribe
  }}
  mailbox Archive {{
    special_use = \\Archive
    auto = subscribe
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  {chroot}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
  {chroot}
}}
service anvil {{
  {chroot}
}}
service stats {{
  {chroot}
}}
"""
_UNPRIVILEGED: Final = """
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
"""


class Dovecot:
    """A server with these accounts, as long as its context; ``log`` is where it writes."""

    def __init__(
        self,
        log: Path,
        users: Sequence[str] = (f"anna@{DOMAIN}",),
        mechanisms: str = "plain scram-sha-256",
    ) -> None:
        missing = [str(path) for path in (Path(PROGRAM), *_PARTS) if not path.exists()]
        if missing:
            reason = f"{missing[0]} is not installed (dovecot-imapd, dovecot-pop3d)"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        self.log = log
        self.folder = Path(tempfile.mkdtemp(prefix="postroom-dovecot-"))
        self._users = users
        self._mechanisms = mechanisms
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def certificate(self) -> Path:
        """What a client must trust."""
        return self.folder / "cert.pem"

    def port(self, name: str) -> int:
        """The port of imap, imaps, pop3 or pop3s."""
        return self._ports[name]

    def client(self, user: str = "anna") -> imaplib.IMAP4_SSL:
        """A session of this user."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        made = imaplib.IMAP4_SSL("localhost", self.port("imaps"), ssl_context=context)
        made.login(f"{user}@{DOMAIN}", PASSWORD)
        return made

    def restart(self) -> None:
        """End every session and start again, on the same ports."""
        self._end()
        self._launch()

    def stop(self) -> None:
        """End the master process, which ends the others, and remove the mail."""
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._process = None

    def _start(self) -> None:
        folder = self.folder
        folder.chmod(0o755)
        (folder / "mail").mkdir()
        root = os.geteuid() == 0
        user = "mail" if root else getpass.getuser()
        owner = pwd.getpwnam(user)
        if root:
            shutil.chown(folder / "mail", user, owner.pw_gid)
        self._ports = dict(zip(_SERVICES, _free_ports(len(_SERVICES)), strict=True))
        (folder / "users").write_text("".join(f"{name}:{{PLAIN}}{PASSWORD}::::::\n" for name in self._users))
        _make_certificate(folder)
        names = {"user": user, "group": grp.getgrgid(owner.pw_gid).gr_name}
        (folder / "dovecot.conf").write_text(
            CONFIG.format(
                folder=folder,
                log=self.log,
                mechanisms=self._mechanisms,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                unprivileged="" if root else _UNPRIVILEGED.format(**names),
                chroot="" if root else "chroot =",
                **self._ports,
            )
        )
        self._launch()

    def _launch(self) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, "-F", "-c", str(self.folder / "dovecot.conf")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port("pop3")), 5) as probe:
                    if probe.recv(3) == b"+OK":
                        return
            except OSError:
                time.sleep(0.05)
        log = self.folder / "dovecot.log"
        raise AssertionError(
            f"Dovecot does not answer: {log.read_text()[-2000:] if log.exists() else 'no log'}"
        )


def _free_ports(count: int) -> list[int]:
    """All found before the first is given back."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _make_certificate(folder: Path) -> None:
    """Self-signed, for localhost."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
