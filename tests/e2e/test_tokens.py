"""Bearer tokens over real connections: curl and Python's libraries, checked by keys and by introspection."""

from __future__ import annotations

import imaplib
import json
import poplib
import smtplib
import ssl
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any
from urllib.parse import parse_qs

import pytest

from postroom.wire.sasl.oauth import BearerMessage, write_oauthbearer, write_xoauth2
from tests.e2e.conftest import MESSAGE, Account, client, execute, new_account
from tests.session.tokens import AUDIENCE, ISSUER, OTHER_RSA_KEY, claims, jwk, key_set, token
from tests.session.tokens import EC_KEY as KEY
from tests.support.live import DOMAIN, LiveServer

pytestmark = pytest.mark.e2e


@dataclass
class Issuer:
    """Answers introspection; ``active`` holds the claims of opaque tokens."""

    active: dict[str, dict[str, Any]]
    port: int


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    active: dict[str, dict[str, Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            known = active.get(form["token"][0])
            body = json.dumps({"active": True, **known} if known else {"active": False}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield Issuer(active, listening.server_address[1])
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture(scope="module")
def token_server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "keys.json").write_bytes(key_set(jwk(KEY, kid="2026", use="sig", alg="ES256")))
    server = LiveServer(
        folder,
        workers=1,
        extra_config=(
            f'[authentication.oauth]\nissuer = "{ISSUER}"\naudience = ["{AUDIENCE}"]\nkeys = "keys.json"\n'
            f'introspection_url = "http://127.0.0.1:{issuer.port}/introspect"\n'
            "[auth]\nfailures_per_ip_minute = 1000\nfailures_per_ip_day = 1000\ndelay_minimum = 0\ndelay_maximum = 0\n"
        ),
    )
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.start()
    yield server
    assert server.stop() == 0
    log = server.log_text()
    assert "Traceback" not in log
    assert "eyJ" not in log, "no token is logged"


@pytest.fixture
def account(token_server: LiveServer) -> Account:
    return new_account(token_server)


def token_of(account: Account, **changes: Any) -> str:
    return token(claims(time.time(), email=account.address, **changes), KEY, "ES256", kid="2026")


def curl(account: Account, scheme: str, bearer: str, *more: str) -> CompletedProcess[bytes]:
    name = {"pop3": "pop3s", "imap": "imaps", "smtp": "submissions"}[scheme]
    return run(
        [
            client("curl"), "--silent", "--show-error", "--cacert", str(account.certificate),
            "--user", f"{account.address}:", "--oauth2-bearer", bearer,
            "--url", f"{scheme}s://localhost:{account.server.port(name)}/", *more,
        ],
        capture_output=True,
        timeout=60,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_curl_sends_and_reads(account: Account, tmp_path: Path, mechanism: str) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(MESSAGE.replace(b"anna@example.test", account.address.encode()))
    good, options = token_of(account), ("--login-options", f"AUTH={mechanism}")
    sent = curl(account, "smtp", good, *options, "--mail-from", account.address, "--mail-rcpt", account.address,
                "--upload-file", str(mail))  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    for scheme, shows in (("pop3", b"1 "), ("imap", b"INBOX")):
        done = curl(account, scheme, good, *options)
        assert done.returncode == 0, done.stderr
        assert shows in done.stdout


@pytest.mark.parametrize("scheme", ["pop3", "imap", "smtp"])
def test_curl_is_refused(account: Account, scheme: str) -> None:
    other = new_account(account.server)
    forged = token(claims(time.time(), email=account.address), OTHER_RSA_KEY, "RS256")
    expired = token_of(account, exp=int(time.time()) - 600)
    assert curl(account, scheme, token_of(account)).returncode in (0, 8)
    for bad in (token_of(other), forged, expired, token_of(account, aud="other")):
        assert curl(account, scheme, bad).returncode == 67


@pytest.mark.parametrize("scheme", ["pop3", "imap", "smtp"])
def test_a_long_token(account: Account, scheme: str) -> None:
    long = token_of(account, groups=["g" * 40] * 80)
    assert len(long) > 4_000
    # curl has no command of its own to give in SMTP without a message: 8 is its word for that
    assert curl(account, scheme, long).returncode in (0, 8)


def test_introspection(account: Account, issuer: Issuer) -> None:
    opaque = account.address.partition("@")[0]
    issuer.active[opaque] = claims(time.time(), email=account.address)
    assert curl(account, "imap", opaque).returncode == 0
    assert curl(account, "imap", opaque + "stale").returncode == 67


def test_a_disabled_account(account: Account) -> None:
    good = token_of(account)
    assert curl(account, "imap", good).returncode == 0
    account.server.run("account", "disable", account.address)
    assert curl(account, "imap", good).returncode == 67


def test_python_gets_the_refusal_in_each_form(account: Account) -> None:
    context = ssl.create_default_context(cafile=str(account.certificate))
    bad = BearerMessage(account.address, token_of(account, iss="https://evil.test"))
    told: list[bytes] = []

    def respond(message: bytes) -> Any:
        def step(challenge: bytes) -> bytes:
            if not challenge:
                return message
            told.append(challenge)
            return b"\x01"

        return step

    with imaplib.IMAP4_SSL("localhost", account.server.port("imaps"), ssl_context=context) as imap:
        assert "AUTH=OAUTHBEARER" in imap.capabilities
        for name, message in (("OAUTHBEARER", write_oauthbearer(bad)), ("XOAUTH2", write_xoauth2(bad))):
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                imap.authenticate(name, respond(message))
        imap.authenticate(
            "XOAUTH2", respond(write_xoauth2(BearerMessage(account.address, token_of(account))))
        )
    assert [json.loads(each) for each in told] == [
        {"status": "invalid_token"},
        {"status": "401", "schemes": "bearer"},
    ]
    with smtplib.SMTP("localhost", account.server.port("submission")) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("auth")
        smtp.starttls(context=context)
        smtp.ehlo()
        assert {"OAUTHBEARER", "XOAUTH2"} <= set(smtp.esmtp_features["auth"].split())
        code, text = smtp.docmd("AUTH", "OAUTHBEARER " + b64encode(write_oauthbearer(bad)).decode())
        assert code == 334
        assert json.loads(b64decode(text)) == {"status": "invalid_token"}
        assert smtp.docmd("AQ==")[0] == 535
    pop = poplib.POP3("localhost", account.server.port("pop3"))
    assert "SASL" not in pop.capa()
    pop.stls(context)
    assert {"OAUTHBEARER", "XOAUTH2"} <= set(pop.capa()["SASL"])
    pop.quit()


def test_nothing_is_offered_where_nothing_is_configured(mail_server: LiveServer) -> None:
    certificate = mail_server.data / "tls" / "cert.pem"
    told = execute(
        [client("curl"), "--silent", "--cacert", str(certificate), "--url",
         f"imaps://localhost:{mail_server.port('imaps')}/", "--request", "CAPABILITY"]
    ).stdout  # fmt: skip
    assert b"AUTH=PLAIN" in told
    assert b"OAUTH" not in told
