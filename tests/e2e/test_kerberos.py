"""Kerberos over real connections: a KDC of the test's own, Python's libraries, curl and fetchmail; GSSAPI and KPOP."""

from __future__ import annotations

import base64
import imaplib
import io
import json
import os
import poplib
import smtplib
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Final

import pytest

from postroom.app.kerberos import Initiator
from postroom.wire.kpop.messages import APPLICATION, SENDAUTH, counted
from postroom.wire.sasl.gssapi import GssapiClient
from tests.e2e.conftest import MESSAGE, client
from tests.support.kdc import REALM, Kdc, need_gssapi
from tests.support.kpop import request_in, token_of_reply
from tests.support.live import DOMAIN, PASSWORD, LiveServer

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("kerberos")]  # one KDC, one server

ANNA = f"anna@{DOMAIN}"


@dataclass(frozen=True)
class Scene:
    """A server with its realm; ``kpop`` is the port."""

    kdc: Kdc
    users: Path
    server: LiveServer
    kpop: int

    def cache(self, user: str = "anna", *more: str) -> str:
        """Where a fresh ticket is."""
        return f"FILE:{self.kdc.log_in(user, self.users, *more)}"

    def initiator(self, service: str, user: str = "anna") -> Initiator:
        """A client's context."""
        return Initiator(service, "localhost", self.cache(user))

    def context(self) -> ssl.SSLContext:
        """What trusts the server."""
        return ssl.create_default_context(cafile=str(self.server.data / "tls" / "cert.pem"))

    def run_client(self, *arguments: str, home: Path | None = None) -> CompletedProcess[bytes]:
        """A program with anna's tickets."""
        return run(
            arguments,
            capture_output=True,
            timeout=120,
            env={
                "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(home or "/nonexistent"),
                "KRB5CCNAME": self.cache(), **self.kdc.environment,
            },
        )  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    need_gssapi()
    folder = tmp_path_factory.mktemp("kerberos")
    with Kdc(folder / "kdc") as kdc, pytest.MonkeyPatch.context() as patch:
        services = [f"{name}/localhost" for name in ("imap", "pop", "smtp")]
        kdc.add(*services, keytab=folder / "services.keytab")
        users = kdc.add("anna", "bert", "anna/admin", "nobody", keytab=folder / "users.keytab")
        for name, value in kdc.environment.items():
            patch.setenv(name, value)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = LiveServer(
            folder / "server",
            extra_config=(
                f'[authentication.kerberos]\nkeytab = "{folder}/services.keytab"\nhostname = "localhost"\n'
                f'realms = ["{REALM}={DOMAIN}"]\n'
                "[auth]\nfailures_per_ip_minute = 1000\nfailures_per_ip_day = 1000\nfailures_per_user_hour = 1000\n"
                "delay_minimum = 0\ndelay_maximum = 0\n"
            ),
        )
        server.write_config()
        with server.config.open("a") as config:
            config.write(
                f'\n[[listeners]]\nprotocol = "kpop"\nport = {port}\ntls = "none"\n'
                'cleartext_auth_cidrs = ["127.0.0.0/8"]\n'
            )
        server.run("init")
        server.run("domain", "add", DOMAIN)
        for name in ("anna", "bert"):
            server.run("account", "add", f"{name}@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
        server.start()
        try:
            yield Scene(kdc, users, server, port)
        finally:
            status, log = server.stop(), server.log_text()
        assert status == 0
        assert "Traceback" not in log
        assert "internal error" not in log


@pytest.fixture
def mail(scene: Scene) -> None:
    """Exactly one message in anna's INBOX."""
    with imaplib.IMAP4_SSL("localhost", scene.server.port("imaps"), ssl_context=scene.context()) as imap:
        imap.login(ANNA, PASSWORD)
        imap.select()
        imap.store("1:*", "+FLAGS", "\\Deleted")
        imap.expunge()
        assert imap.append("INBOX", "", "", MESSAGE)[0] == "OK"


# --- GSSAPI


def answers(mechanism: GssapiClient) -> Callable[[bytes], bytes]:
    """The mechanism as imaplib asks for it: the first challenge is empty."""
    begun: list[bool] = []

    def answer(challenge: bytes) -> bytes:
        if not begun:
            begun.append(True)
            return mechanism.initial() or b""
        return mechanism.step(challenge)

    return answer


@pytest.mark.parametrize("authzid", ["", ANNA, "anna"])
def test_imap(scene: Scene, mail: None, authzid: str) -> None:
    mechanism = GssapiClient(scene.initiator("imap"), authzid)
    with imaplib.IMAP4_SSL("localhost", scene.server.port("imaps"), ssl_context=scene.context()) as imap:
        assert "AUTH=GSSAPI" in imap.capabilities
        assert imap.authenticate("GSSAPI", answers(mechanism))[0] == "OK"
        assert mechanism.complete
        assert imap.select()[1] == [b"1"]


@pytest.mark.parametrize(
    ("service", "user", "authzid"),
    [
        ("pop", "anna", ""),
        ("imap", "anna", f"bert@{DOMAIN}"),
        ("imap", "anna/admin", ""),
        ("imap", "nobody", ""),
    ],
)
def test_imap_refuses(scene: Scene, service: str, user: str, authzid: str) -> None:
    mechanism = GssapiClient(scene.initiator(service, user), authzid)
    with imaplib.IMAP4_SSL("localhost", scene.server.port("imaps"), ssl_context=scene.context()) as imap:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            imap.authenticate("GSSAPI", answers(mechanism))
        imap.login(ANNA, PASSWORD)


def test_imap_refuses_a_replayed_token(scene: Scene) -> None:
    token = scene.initiator("imap").step(b"")
    with imaplib.IMAP4_SSL("localhost", scene.server.port("imaps"), ssl_context=scene.context()) as imap:
        for rounds in (2, 1):  # at first the token is good and what follows is not; then it is a replay
            sent: list[bytes] = []

            def answer(_challenge: bytes, sent: list[bytes] = sent) -> bytes:
                sent.append(token)
                return token if len(sent) == 1 else b"never right"

            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                imap.authenticate("GSSAPI", answer)
            assert len(sent) == rounds


def test_pop3(scene: Scene, mail: None) -> None:
    mechanism = GssapiClient(scene.initiator("pop"))
    pop = poplib.POP3_SSL("localhost", scene.server.port("pop3s"), context=scene.context())
    assert "GSSAPI" in pop.capa()["SASL"]
    answer = mechanism.initial() or b""
    # An initial response as long as a ticket does not fit into the command (RFC 5034 §4: 255 octets).
    pop._putcmd("AUTH GSSAPI")  # type: ignore[attr-defined]
    assert pop._getline()[0].rstrip() == b"+"  # type: ignore[attr-defined]
    while True:
        pop._putline(base64.b64encode(answer))  # type: ignore[attr-defined]
        line = pop._getline()[0]  # type: ignore[attr-defined]
        if not line.startswith(b"+ "):
            break
        answer = mechanism.step(base64.b64decode(line[2:]))
    assert line.startswith(b"+OK")
    assert mechanism.complete
    assert pop.stat()[0] == 1
    pop.quit()


def test_smtp(scene: Scene) -> None:
    mechanism = GssapiClient(scene.initiator("smtp"))
    with smtplib.SMTP_SSL("localhost", scene.server.port("submissions"), context=scene.context()) as smtp:
        smtp.ehlo()
        assert "GSSAPI" in smtp.esmtp_features["auth"].split()
        code, text = smtp.docmd("AUTH", "GSSAPI " + base64.b64encode(mechanism.initial() or b"").decode())
        while code == 334:
            code, text = smtp.docmd(base64.b64encode(mechanism.step(base64.b64decode(text))).decode())
        assert code == 235
        assert (
            smtp.sendmail(ANNA, [f"bert@{DOMAIN}"], MESSAGE.replace(b"anna@example.test", ANNA.encode()))
            == {}
        )


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
def test_curl_reads(scene: Scene, mail: None, scheme: str) -> None:
    curl = client("curl")
    if b"GSS-API" not in run([curl, "-V"], capture_output=True).stdout:
        pytest.skip("this curl has no GSS-API")
    place = "INBOX;MAILINDEX=1" if scheme == "imaps" else "1"
    done = scene.run_client(
        curl, "--silent", "--show-error", "--cacert", str(scene.server.data / "tls" / "cert.pem"),
        "--user", f"{ANNA}:", "--login-options", "AUTH=GSSAPI",
        "--url", f"{scheme}://localhost:{scene.server.port(scheme)}/{place}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == MESSAGE


RELAY: Final = """
import os, socket, sys, threading
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def outwards():
    while octets := os.read(0, 65536):
        line.sendall(octets)
threading.Thread(target=outwards, daemon=True).start()
while octets := line.recv(65536):
    os.write(1, octets)
"""


@pytest.mark.parametrize("way", ["gssapi", "kpop"])
def test_fetchmail_reads(scene: Scene, mail: None, tmp_path: Path, way: str) -> None:
    fetchmail = client("fetchmail")
    built = run([fetchmail, "-V"], capture_output=True).stdout.split(b"\n")[0]
    feature = {"gssapi": b"+GSS", "kpop": b"+KRB5"}[way]
    if feature not in built:
        pytest.skip(f"this fetchmail has no {feature.decode()[1:]}")
    # fetchmail does KPOP on the port that is called so, and on no other: a plugin connects where the listener is.
    relay = tmp_path / "relay"
    relay.write_text(RELAY)
    poll, options = {
        "gssapi": (
            f"proto imap port {scene.server.port('imaps')} auth gssapi",
            f"ssl sslcertck sslcertfile {scene.server.data / 'tls' / 'cert.pem'}",
        ),
        "kpop": (
            f"proto kpop auth kerberos_v5 plugin '{sys.executable} {relay} {scene.kpop}'",
            "sslproto ''",
        ),
    }[way]
    config, taken = tmp_path / "fetchmailrc", tmp_path / "taken"
    config.write_text(f"poll localhost {poll} user '{ANNA}' is anna here {options}\n")
    config.chmod(0o600)
    done = scene.run_client(
        fetchmail, "--fetchmailrc", str(config), "--bsmtp", str(taken), "--nosyslog", "--nodetach", "-v", "-v",
        "--idfile", str(tmp_path / "ids"), "--pidfile", str(tmp_path / "pid"),
        home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert b"First line\r\n" in taken.read_bytes().replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")


@pytest.mark.parametrize(("protocol", "port"), [("pop3", "pop3s"), ("imap", "imaps")])
def test_we_collect_with_a_ticket(scene: Scene, mail: None, tmp_path: Path, protocol: str, port: str) -> None:
    here = LiveServer(tmp_path / "here", environment={"KRB5CCNAME": scene.cache()})
    here.write_config()
    with here.config.open("a") as config:
        config.write(
            f'\n[[collect]]\nname = "there"\naccount = "{ANNA}"\nhost = "localhost"\nuser = "{ANNA}"\nkerberos = true\n'
            f'protocol = "{protocol}"\nport = {scene.server.port(port)}\n'
            f'certificate_authorities = "{scene.server.data}/tls/cert.pem"\n'
        )
    here.run("init")
    here.run("domain", "add", DOMAIN)
    here.run("account", "add", ANNA, "--password-stdin", stdin=PASSWORD + "\n")
    (outcome,) = json.loads(here.run("collect", "--json").stdout)
    assert (outcome["stored"], outcome["error"]) == (1, "")
    here.environment = {"KRB5CCNAME": f"FILE:{tmp_path}/none"}
    without = here.run("collect", check=False)
    assert without.returncode == 69
    assert "GSSAPI" in without.stdout + without.stderr


# --- KPOP


@dataclass
class Kpop:
    """A client of one connection."""

    wire: io.BufferedRWPair

    def say(self, octets: bytes) -> None:
        """Send."""
        self.wire.write(octets)
        self.wire.flush()

    def counted(self) -> bytes:
        """A message with its length in front."""
        return self.wire.read(int.from_bytes(self.wire.read(4), "big"))

    def ask(self, command: bytes) -> bytes:
        """A command's first line."""
        self.say(command + b"\r\n")
        return self.wire.readline()

    def begin(self, request: bytes) -> bytes:
        """The messages up to the answer to the ticket: the error, empty for none."""
        self.say(counted(SENDAUTH) + counted(APPLICATION))
        assert self.wire.read(1) == b"\0"
        self.say(counted(request))
        return self.counted()


@pytest.fixture
def kpop(scene: Scene) -> Iterator[Kpop]:
    with socket.create_connection(("127.0.0.1", scene.kpop), 30) as line, line.makefile("rwb") as wire:
        yield Kpop(wire)


def test_a_whole_session(scene: Scene, mail: None, kpop: Kpop) -> None:
    initiator = scene.initiator("pop")
    assert kpop.begin(request_in(initiator.step(b""))) == b""
    initiator.step(token_of_reply(kpop.counted()))
    assert initiator.complete, "the server has proved who it is"
    assert kpop.wire.readline() == b"+OK KPOP server ready\r\n"
    assert kpop.ask(b"CAPA").startswith(b"+OK")
    capabilities = set(iter(kpop.wire.readline, b".\r\n"))
    assert b"USER\r\n" in capabilities
    assert not [line for line in capabilities if line.startswith((b"SASL", b"STLS"))]
    for refused in (b"STLS", b"AUTH GSSAPI", b"AUTH", b"STAT", b"PASS first"):
        assert kpop.ask(refused).startswith(b"-ERR"), refused
    assert kpop.ask(b"USER " + ANNA.encode()).startswith(b"+OK")
    assert kpop.ask(b"PASS krb_ticket").startswith(b"+OK")
    assert kpop.ask(b"STAT") == b"+OK 1 %d\r\n" % len(MESSAGE)
    assert kpop.ask(b"DELE 1").startswith(b"+OK")
    assert kpop.ask(b"QUIT").startswith(b"+OK")
    assert kpop.wire.read() == b""


@pytest.mark.parametrize("name", [b"anna", b"anna@" + REALM.encode()])
def test_the_user_as_the_principal_has_it(scene: Scene, kpop: Kpop, name: bytes) -> None:
    kpop.begin(request_in(scene.initiator("pop").step(b"")))
    kpop.counted()
    kpop.wire.readline()
    kpop.ask(b"USER " + name)
    assert kpop.ask(b"PASS " + name).startswith(b"+OK")


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("anna", f"bert@{DOMAIN}"), ("bert", ANNA), ("anna/admin", ANNA), ("nobody", f"nobody@{DOMAIN}"),
        ("anna", "nobody"),
    ],
)  # fmt: skip
def test_nobody_opens_what_is_not_theirs(scene: Scene, kpop: Kpop, user: str, name: str) -> None:
    kpop.begin(request_in(scene.initiator("pop", user).step(b"")))
    kpop.counted()
    kpop.wire.readline()
    for password in ("krb_ticket", PASSWORD, "third"):
        assert kpop.ask(f"USER {name}".encode()).startswith(b"+OK")
        assert kpop.ask(f"PASS {password}".encode()) == b"-ERR [AUTH] Authentication failed\r\n"
    assert kpop.wire.read() == b"", "three are enough"


def test_a_replayed_ticket(scene: Scene, kpop: Kpop) -> None:
    request = request_in(scene.initiator("pop").step(b""))
    assert kpop.begin(request) == b""
    for _ in range(4):  # of whichever worker
        with socket.create_connection(("127.0.0.1", scene.kpop), 30) as line, line.makefile("rwb") as wire:
            refused = Kpop(wire).begin(request)
            assert bytes.fromhex("a603020122") in refused  # KRB_AP_ERR_REPEAT
            assert wire.read() == b""


def test_a_ticket_for_another_service(scene: Scene, kpop: Kpop) -> None:
    refused = kpop.begin(request_in(scene.initiator("imap").step(b"")))
    assert bytes.fromhex("a603020123") in refused  # KRB_AP_ERR_NOT_US
    assert kpop.wire.read() == b""


def test_an_expired_ticket(scene: Scene, kpop: Kpop) -> None:
    initiator = Initiator("pop", "localhost", scene.cache("anna", "-l", "5s"))
    request = request_in(initiator.step(b""))
    time.sleep(7.5)
    assert bytes.fromhex("a603020120") in kpop.begin(request)  # KRB_AP_ERR_TKT_EXPIRED
    assert kpop.wire.read() == b""


@pytest.mark.parametrize("request_", [b"\0", b"garbage", os.urandom(60_000), b"\x6e\x84\xff\xff\xff\xff"])
def test_garbage_for_a_ticket(kpop: Kpop, request_: bytes) -> None:
    assert kpop.begin(request_).startswith(b"\x7e")
    assert kpop.wire.read() == b""


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (b"CAPA\r\n", b"\1"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\1"),
        (counted(b"KRB5_SENDAUTH_V9.9\0"), b"\1"),
        (counted(SENDAUTH) + counted(b"KPOPV0.1\0"), b"\2"),
        (counted(SENDAUTH) + counted(APPLICATION) + b"\xff\xff\xff\xff", b"\0"),
    ],
)
def test_garbage_before_the_ticket(kpop: Kpop, octets: bytes, answer: bytes) -> None:
    kpop.say(octets)
    assert kpop.wire.read() == answer
