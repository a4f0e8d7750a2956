"""A Kerberos of one's own: MIT's KDC on a free port of the loopback, its realm and files in a folder of the test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

import pytest

REALM: Final = "KRB.TEST"
OTHER_REALM: Final = "OTHER.TEST"
PROGRAMS: Final = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
_PATH: Final = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def needed(name: str) -> str:
    """A program of MIT's Kerberos; the test is skipped (a failure under CI) when it is not there."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        reason = f"{name} is not installed (krb5-kdc, krb5-admin-server, krb5-user)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def need_gssapi() -> None:
    """The package is an extra; without it the test is skipped (a failure under CI)."""
    try:
        __import__("gssapi")
    except ImportError as error:
        reason = f"the extra `kerberos` is not installed: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


class Kdc:
    """A realm with its KDC, as long as its context. ``environment`` is what programs and libraries need to find it."""

    def __init__(self, folder: Path, realm: str = REALM) -> None:
        for name in PROGRAMS:
            needed(name)
        self.folder = folder
        self.realm = realm
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5RCACHENAME": f"file2:{folder / 'replays'}",
        }
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def _start(self) -> None:
        """Make the realm, start the KDC, wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._write_configuration(port)
        self._run("kdb5_util", "create", "-s", "-r", self.realm, "-P", "master")
        with (self.folder / "kdc.log").open("wb") as log:
            self._process = subprocess.Popen(
                [needed("krb5kdc"), "-n", "-r", self.realm],
                env=self._whole_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            if self._process.poll() is not None:
                raise AssertionError((self.folder / "kdc.log").read_text())
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the KDC does not answer")

    def _stop(self) -> None:
        """End the KDC."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def add(self, *principals: str, keytab: Path) -> Path:
        """Principals with random keys, into a keytab."""
        for principal in principals:
            self._run("kadmin.local", "-r", self.realm, "-q", f"addprinc -randkey {principal}")
            self._run("kadmin.local", "-r", self.realm, "-q", f"ktadd -k {keytab} {principal}")
        return keytab

    def log_in(self, principal: str, keytab: Path, *more: str) -> Path:
        """A cache with a fresh ticket of ``principal``."""
        cache = self.folder / f"cache.{principal.replace('/', '.')}.{len(list(self.folder.iterdir()))}"
        self._run("kinit", *more, "-c", f"FILE:{cache}", "-k", "-t", str(keytab), principal)
        return cache

    def _write_configuration(self, port: int) -> None:
        (self.folder / "krb5.conf").write_text(
            f"[libdefaults]\ndefault_realm = {self.realm}\ndns_lookup_kdc = false\ndns_lookup_realm = false\n"
            "dns_canonicalize_hostname = false\nrdns = false\nudp_preference_limit = 1\nclockskew = 1\n"
            f'qualify_shortname = ""\n[realms]\n{self.realm} = {{\nkdc = 127.0.0.1:{port}\n}}\n'
            f"[domain_realm]\nlocalhost = {self.realm}\n"
        )
        (self.folder / "kdc.conf").write_text(
            f'[kdcdefaults]\nkdc_listen = ""\nkdc_tcp_listen = 127.0.0.1:{port}\n'
            f"[realms]\n{self.realm} = {{\ndatabase_name = {self.folder}/principal\n"
            f"key_stash_file = {self.folder}/stash\nacl_file = {self.folder}/acl\nmax_life = 1h\n}}\n"
            f"[logging]\nkdc = FILE:{self.folder}/kdc.log\n"
        )

    def _whole_environment(self) -> dict[str, str]:
        return {"PATH": _PATH, "LC_ALL": "C", **self.environment}

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [needed(program), *arguments],
            env=self._whole_environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (program, arguments, done.stderr.decode(), done.stdout.decode())
