"""Cyrus IMAP 3, one file a message, an index and a cache of what was parsed at delivery.

Tuned for many short sessions: processes that wait and are used again. Its databases (twoskip) and deliveries are synced as they
are by default. Duplicate suppression is off, for the load repeats one Message-ID.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.install import cyrus_programs
from bench.peers.dovecot import make_certificate
from bench.server import ACCOUNTS, DOMAIN, PASSWORD, Server, free_ports

IMAPD: Final = """
configdirectory: {folder}/conf
proc_path: {volatile}/proc
mboxname_lockpath: {volatile}/lock
defaultpartition: default
partition-default: {folder}/mail
servername: {domain}
defaultdomain: {domain}
virtdomains: userid
unixhierarchysep: yes
altnamespace: yes
hashimapspool: yes
autocreate_quota: 0
autocreate_post: yes
duplicatesuppression: no
allowplaintext: yes
popminpoll: 0
imapidlepoll: 60
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/passwords
sasl_mech_list: PLAIN
tls_server_cert: {folder}/cert.pem
tls_server_key: {folder}/key.pem
lmtpsocket: {folder}/lmtp
idlesocket: {folder}/idle
notifysocket: {folder}/notify
"""

SERVICES: Final = """
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{imapd} -C {folder}/imapd.conf -U 1000" listen="127.0.0.1:{imap}" prefork=16 maxchild=4000
  imaps cmd="{imapd} -C {folder}/imapd.conf -s -U 1000" listen="127.0.0.1:{imaps}" prefork=4 maxchild=4000
  pop3 cmd="{pop3d} -C {folder}/imapd.conf -U 1000" listen="127.0.0.1:{pop3}" prefork=16 maxchild=4000
  lmtp cmd="{lmtpd} -C {folder}/imapd.conf -a -U 1000" listen="127.0.0.1:{lmtp}" prefork=16 maxchild=1000
}}
EVENTS {{
  checkpoint cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C {folder}/imapd.conf -c" period=30
}}
"""
_MEMORY: Final = Path("/dev/shm")


class Cyrus(Server):
    """Runs as the user ``cyrus``; a mailbox is made when it is first used."""

    name = "Cyrus"
    services = frozenset({"lmtp", "pop3", "imap", "imaps"})
    _volatile: Path | None = None

    def start(self) -> None:
        programs = cyrus_programs()
        # Locks and notes about processes lie in memory, as Debian has them under /run.
        volatile = self._volatile = Path(
            tempfile.mkdtemp(prefix="postroom-bench-", dir=_MEMORY if _MEMORY.is_dir() else None)
        )
        self.folder.mkdir(parents=True)
        for path in (self.folder, self.folder.parent):
            path.chmod(0o755)
        services = ("imap", "imaps", "pop3", "lmtp")
        self.ports = dict(zip(services, free_ports(len(services)), strict=True))
        for path in (self.folder / "conf", self.folder / "mail", volatile / "proc", volatile / "lock"):
            path.mkdir(parents=True)
        make_certificate(self.folder / "cert.pem", self.folder / "key.pem")
        (self.folder / "imapd.conf").write_text(
            IMAPD.format(folder=self.folder, volatile=volatile, domain=DOMAIN)
        )
        (self.folder / "cyrus.conf").write_text(
            SERVICES.format(
                folder=self.folder,
                imapd=programs["imapd"],
                pop3d=programs["pop3d"],
                lmtpd=programs["lmtpd"],
                **self.ports,
            )
        )
        self._make_passwords(programs["saslpasswd2"])
        for path in (self.folder, volatile, *self.folder.rglob("*"), *volatile.rglob("*")):
            shutil.chown(path, "cyrus", "mail")
        self.launch(
            [
                str(programs["master"]), "-C", str(self.folder / "imapd.conf"), "-M", str(self.folder / "cyrus.conf"),
                "-p", str(self.folder / "master.pid"), "-D",
            ]
        )  # fmt: skip
        self.wait_until_it_answers()

    def stop(self) -> None:
        super().stop()
        if self._volatile is not None:
            shutil.rmtree(self._volatile, ignore_errors=True)

    def _make_passwords(self, program: Path) -> None:
        for name in (name for name in ACCOUNTS if not name.startswith("argon")):
            subprocess.run(
                [str(program), "-c", "-p", "-f", str(self.folder / "passwords"), "-u", DOMAIN, name],
                input=PASSWORD.encode(), check=True, capture_output=True,
            )  # fmt: skip
