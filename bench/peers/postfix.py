"""Postfix 3 in front of a Dovecot: SMTP in, LMTP to the mailboxes.

Tuned for throughput: more processes, more deliveries at once to the one destination. Its queue is synced as it is by default.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench import install
from bench.peers.dovecot import Dovecot
from bench.server import DOMAIN, Server, Unavailable, free_ports

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
myhostname = mail.{domain}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = {domain}
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_delay_reject = yes
default_process_limit = 200
lmtp_destination_concurrency_limit = 64
initial_destination_concurrency = 32
lmtp_destination_recipient_limit = 1
default_destination_concurrency_limit = 64
qmgr_message_active_limit = 40000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
maillog_file = {folder}/postfix.log
maillog_file_prefixes = /
smtpd_tls_security_level = none
"""

MASTER = """
127.0.0.1:{smtp} inet n - n - 100 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - 64 lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    """With a Dovecot of its own behind it."""

    name = "Postfix + Dovecot"
    services = frozenset({"smtp"})

    def __init__(self, folder: Path, cores: Sequence[int] = ()) -> None:
        super().__init__(folder, cores)
        self._store = Dovecot(folder.parent / f"{folder.name}-store", cores)

    def start(self) -> None:
        program = str(install.find("postfix", ["postfix"]))
        self._store.start()
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        config = self.folder / "config"
        for path in (config, self.folder / "queue", self.folder / "data"):
            path.mkdir()
        shutil.chown(self.folder / "data", "postfix")
        self.ports = {"smtp": free_ports(1)[0]}
        (config / "main.cf").write_text(
            MAIN.format(folder=self.folder, domain=DOMAIN, lmtp=self._store.ports["lmtp"])
        )
        (config / "master.cf").write_text(MASTER.format(**self.ports))
        # Makes the folders of the queue, with their owners.
        made = subprocess.run(
            [program, "-c", str(config), "check"], check=False, capture_output=True, text=True
        )
        if made.returncode:
            raise Unavailable(f"postfix check: {made.stderr[-500:]}")
        self.launch(["/usr/lib/postfix/sbin/master", "-c", str(config), "-d"])
        self.wait_until_it_answers()

    def stop(self) -> None:
        super().stop()
        self._store.stop()

    def pids(self) -> list[int]:
        """Both servers': a message costs what all of them spend."""
        return super().pids() + self._store.pids()

    def delivered(self) -> int:
        """Messages that have left the queue into mailboxes so far."""
        path = self.folder / "postfix.log"
        return path.read_bytes().count(b"status=sent") if path.exists() else 0

    def last_words(self) -> str:
        """The end of its logs."""
        path = self.folder / "postfix.log"
        return super().last_words() + (path.read_text(errors="replace")[-800:] if path.exists() else "")
