"""Client certificates and channel binding over real connections: curl, openssl, mpop, Python's libraries with scramp."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import scramp  # type: ignore[import-untyped]

from tests.e2e.conftest import MESSAGE, Account, client, execute, new_account
from tests.e2e.test_reading_clients import put_in
from tests.support.live import DOMAIN, LiveServer
from tests.support.pki import Authority

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[LiveServer]:
    made = LiveServer(
        tmp_path_factory.mktemp("certificates"),
        workers=1,
        extra_config="[authentication]\nchannel_binding = true\n[auth]\ndelay_minimum = 0\ndelay_maximum = 0\n",
    )
    made.write_config()
    text = made.config.read_text()
    for mode in ("implicit", "starttls"):
        told = f'tls = "{mode}"\n'
        text = text.replace(told, f'{told}client_authorities = "{authority.file}"\n')
    made.config.write_text(text)
    made.run("init")
    made.run("domain", "add", DOMAIN)
    made.start()
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log_text()


@pytest.fixture
def account(server: LiveServer) -> Account:
    return new_account(server)


def curl(
    account: Account, scheme: str, shown: tuple[Path, Path] | None, *more: str
) -> subprocess.CompletedProcess[bytes]:
    name = {"pop3": "pop3s", "imap": "imaps", "smtp": "submissions"}[scheme]
    shows = ["--cert", str(shown[0]), "--key", str(shown[1])] if shown else []
    return subprocess.run(
        [
            client("curl"), "--silent", "--show-error", "--cacert", str(account.certificate), *shows,
            "--url", f"{scheme}s://localhost:{account.server.port(name)}/", *more,
        ],
        capture_output=True,
        timeout=60,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_curl_shows_its_certificate(account: Account, authority: Authority, tmp_path: Path) -> None:
    shown = authority.client(account.address)
    external = ("--user", f"{account.address}:", "--login-options", "AUTH=EXTERNAL")
    mail = tmp_path / "mail"
    mail.write_bytes(MESSAGE.replace(b"anna@example.test", account.address.encode()))
    sent = curl(account, "smtp", shown, *external, "--mail-from", account.address, "--mail-rcpt", account.address,
                "--upload-file", str(mail))  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    for scheme, shows in (("pop3", b"1 "), ("imap", b"INBOX")):
        done = curl(account, scheme, shown, *external)
        assert done.returncode == 0, done.stderr
        assert shows in done.stdout


def test_curl_is_refused(account: Account, authority: Authority, tmp_path: Path) -> None:
    external = ("--user", f"{account.address}:", "--login-options", "AUTH=EXTERNAL")
    other = new_account(account.server)
    assert curl(account, "imap", authority.client(other.address), *external).returncode == 67
    assert curl(account, "imap", None, *external).returncode == 67, "not offered"
    stranger = Authority(tmp_path, "stranger")
    for bad in (stranger.client(account.address), authority.client(account.address, expired=True)):
        done = curl(account, "imap", bad, *external)
        assert done.returncode in (35, 55, 56), done
    account.server.run("account", "disable", account.address)
    assert curl(account, "imap", authority.client(account.address), *external).returncode == 67


def test_passwords_serve_beside_certificates(account: Account, authority: Authority) -> None:
    for shown in (None, authority.client("nobody@example.test")):
        password = ("--user", f"{account.address}:{account.password}", "--login-options", "AUTH=PLAIN")
        assert curl(account, "imap", shown, *password).returncode == 0


def test_openssl_shows_its_certificate(account: Account, authority: Authority) -> None:
    shown = authority.client(account.address)
    said = execute(
        [client("openssl"), "s_client", "-quiet", "-verify_return_error", "-CAfile", str(account.certificate),
         "-cert", str(shown[0]), "-key", str(shown[1]), "-servername", "localhost", "-ign_eof", "-no_ticket",
         "-connect", f"127.0.0.1:{account.server.port('imaps')}"],
        stdin=b"a AUTHENTICATE EXTERNAL =\r\nb SELECT INBOX\r\nc LOGOUT\r\n",
    ).stdout  # fmt: skip
    assert b"AUTH=EXTERNAL" in said
    assert b"a OK" in said
    assert b"b OK" in said


def test_starttls_with_a_certificate(account: Account, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(account.certificate))
    context.load_cert_chain(*authority.client(account.address))
    with smtplib.SMTP("localhost", account.server.port("submission")) as smtp:
        smtp.starttls(context=context)
        smtp.ehlo()
        assert smtp.esmtp_features["auth"].split()[0] == "EXTERNAL"
        assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 235


# --- channel binding, with another implementation's client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_scramp_binds_to_our_certificate(account: Account, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(account.certificate))
    context.maximum_version = context.minimum_version = version
    with imaplib.IMAP4_SSL("localhost", account.server.port("imaps"), ssl_context=context) as imap:
        assert "AUTH=SCRAM-SHA-256-PLUS" in imap.capabilities
        binding = ("tls-server-end-point", imap.socket())
        forged = ("tls-server-end-point", bytes(32))
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            log_in(imap, account, forged)
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            log_in(
                imap, account, binding, mechanism="SCRAM-SHA-256"
            )  # what a stripped -PLUS would make it do
        log_in(imap, account, binding)
        assert imap.select("INBOX")[0] == "OK"


def log_in(
    imap: imaplib.IMAP4, account: Account, binding: tuple[str, object], mechanism: str = "SCRAM-SHA-256-PLUS"
) -> None:
    its = scramp.ScramClient([mechanism], account.address, account.password, channel_binding=binding)
    stage = 0

    def step(challenge: bytes) -> bytes:
        nonlocal stage
        stage += 1
        if stage == 1:
            return str(its.get_client_first()).encode()
        if stage == 2:
            its.set_server_first(challenge.decode())
            return str(its.get_client_final()).encode()
        its.set_server_final(challenge.decode())
        return b""

    imap.authenticate(mechanism, step)


@pytest.mark.parametrize("chosen", ["on", "scram-sha-256"])
def test_mpop_is_not_hindered(account: Account, tmp_path: Path, chosen: str) -> None:
    put_in(account, 1)
    maildir = tmp_path / "mail"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    config = tmp_path / "mpoprc"
    config.write_text(
        f"account default\nhost localhost\nport {account.server.port('pop3s')}\nuser {account.address}\n"
        f"password {account.password}\ntls on\ntls_starttls off\ntls_trust_file {account.certificate}\n"
        f"auth {chosen}\ndelivery maildir {maildir}\nuidls_file {tmp_path}/uidls\n"
    )
    config.chmod(0o600)
    execute([client("mpop"), f"--file={config}"], home=tmp_path)
    assert len(list(maildir.glob("new/*"))) == 1
