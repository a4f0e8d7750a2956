"""Every SASL mechanism (but GSSAPI, see test_kerberos.py) on every protocol, by our own client side over real TLS: who has the
right proof gets in, who has a wrong one is told the same as who does not exist."""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postroom.net.exporter import KeyLog, channel_binding
from postroom.net.tls import end_point
from postroom.wire.sasl.api import ClientMechanism, Proof
from postroom.wire.sasl.registry import BY_NAME
from tests.e2e.conftest import new_account
from tests.session.tokens import AUDIENCE, ISSUER, OTHER_RSA_KEY, claims, jwk, key_set, token
from tests.session.tokens import EC_KEY as KEY
from tests.support.live import DOMAIN, PASSWORD, LiveServer
from tests.support.pki import Authority

pytestmark = pytest.mark.e2e

SECRET = "a secret of its own"
MECHANISMS = sorted(name for name, spec in BY_NAME.items() if spec.proof is not Proof.TICKET)
PROTOCOLS = ("pop3s", "imaps", "submissions")


@dataclass(frozen=True)
class Scene:
    """A server where everything is allowed, its authority for clients, and one account."""

    server: LiveServer
    authority: Authority
    login: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("mechanisms")
    authority = Authority(folder)
    (folder / "keys.json").write_bytes(key_set(jwk(KEY, kid="2026", use="sig", alg="ES256")))
    server = LiveServer(
        folder / "server",
        workers=1,
        extra_config=(
            f'[authentication]\nchannel_binding = true\n[authentication.oauth]\nissuer = "{ISSUER}"\n'
            f'audience = ["{AUDIENCE}"]\nkeys = "{folder / "keys.json"}"\n'
            "[auth]\ncram_md5 = true\nfailures_per_ip_minute = 1000\nfailures_per_ip_day = 1000\n"
            "delay_minimum = 0\ndelay_maximum = 0\n"
        ),
    )
    server.write_config()
    told = 'tls = "implicit"\n'
    server.config.write_text(
        server.config.read_text().replace(told, f'{told}client_authorities = "{authority.file}"\n')
    )
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.start()
    login = new_account(server).address
    server.run("account", "secret", "set", login, "--secret-stdin", stdin=SECRET + "\n")
    yield Scene(server, authority, login)
    assert server.stop() == 0
    log = server.log_text()
    assert "Traceback" not in log
    for secret in (PASSWORD, SECRET, "eyJ"):
        assert secret not in log


class Line:
    """A TLS connection that takes and gives lines."""

    def __init__(self, scene: Scene, protocol: str, shown: tuple[Path, Path] | None) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if shown is not None:
            context.load_cert_chain(*shown)
        plain = socket.create_connection(("127.0.0.1", scene.server.port(protocol)), timeout=30)
        self.log = KeyLog()
        self.log.attach(context)
        self.socket = context.wrap_socket(plain)
        self.file = self.socket.makefile("rwb")
        self.protocol = protocol
        while not self.file.readline().startswith((b"+OK", b"* OK", b"220 ")):
            pass
        if protocol == "submissions":
            self.tell(b"EHLO client.test")
            while self.file.readline()[3:4] != b" ":
                pass

    def tell(self, line: bytes) -> None:
        self.file.write(line + b"\r\n")
        self.file.flush()

    def bindings(self, kind: str) -> dict[str, bytes]:
        if kind == "tls-exporter":
            told = os.pread(self.log._descriptor, 1 << 16, 0)
            secret = next(
                line.split()[2] for line in told.split(b"\n") if line.startswith(b"EXPORTER_SECRET ")
            )
            cipher = self.socket.cipher()
            assert cipher is not None
            return {kind: channel_binding(bytes.fromhex(secret.decode()), cipher[0])}
        certificate = self.socket.getpeercert(binary_form=True)
        assert certificate is not None
        found = end_point(certificate)
        assert found is not None
        return {"tls-server-end-point": found}

    def authenticate(self, name: str, mechanism: ClientMechanism) -> bytes:
        """The last line of the exchange, without what differs each time."""
        verb = {"pop3s": b"AUTH ", "imaps": b"a AUTHENTICATE ", "submissions": b"AUTH "}[self.protocol]
        initial = mechanism.initial()
        line = verb + name.encode()
        if initial is not None:
            line += b" " + (b64encode(initial) or b"=")
        self.tell(line)
        while True:
            answer = self.file.readline().rstrip(b"\r\n")
            assert answer, "the server hung up"
            if not answer.startswith((b"+ ", b"334 ")):
                return answer
            self.tell(b64encode(mechanism.step(b64decode(answer.partition(b" ")[2]))))

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def _attempt(
    scene: Scene, protocol: str, name: str, login: str, *, right: bool, binding: str = "tls-server-end-point"
) -> bytes:
    spec = BY_NAME[name]
    shown = None
    match spec.proof:
        case Proof.TOKEN:
            key, algorithm = (KEY, "ES256") if right else (OTHER_RSA_KEY, "RS256")
            proof = token(claims(time.time(), email=login), key, algorithm, kid="2026")
        case Proof.SHARED_SECRET:
            proof = SECRET if right else "another"
        case Proof.CERTIFICATE:
            proof, shown = "", scene.authority.client(login if right else f"somebody-else@{DOMAIN}")
        case _:
            proof = PASSWORD if right else "another"
    line = Line(scene, protocol, shown)
    try:
        mechanism = spec.client(login, proof, line.bindings(binding) if spec.binds else {})
        answer = line.authenticate(name, mechanism)
        if answer.startswith((b"+OK", b"a OK", b"235 ")):
            assert mechanism.complete
        return re.sub(rb"\[CAPABILITY [^\]]*\] ", b"", answer)
    finally:
        line.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", MECHANISMS)
def test_mechanism(scene: Scene, protocol: str, name: str) -> None:
    good = _attempt(scene, protocol, name, scene.login, right=True)
    assert good.startswith({"pop3s": b"+OK", "imaps": b"a OK", "submissions": b"235 2.7.0"}[protocol]), good
    bad = _attempt(scene, protocol, name, scene.login, right=False)
    refusals = {"pop3s": b"-ERR [AUTH]", "imaps": b"a NO [AUTHENTICATIONFAILED]", "submissions": b"535 5.7.8"}
    assert bad.startswith(refusals[protocol]), bad
    assert _attempt(scene, protocol, name, f"nobody@{DOMAIN}", right=name != "CRAM-MD5") == bad


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [name for name in MECHANISMS if name.endswith("-PLUS")])
def test_tls_exporter(scene: Scene, protocol: str, name: str) -> None:
    """RFC 9266: bound to the connection."""
    good = _attempt(scene, protocol, name, scene.login, right=True, binding="tls-exporter")
    assert good.startswith((b"+OK", b"a OK", b"235 2.7.0")), good
    bad = _attempt(scene, protocol, name, scene.login, right=False, binding="tls-exporter")
    assert bad.startswith((b"-ERR [AUTH]", b"a NO [AUTHENTICATIONFAILED]", b"535 5.7.8")), bad
