"""CRAM-MD5, APOP and SCRAM-SHA-1 with the clients that speak them: poplib, imaplib, smtplib, curl, fetchmail, mpop, msmtp,
getmail, scramp; and our own collector."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import scramp  # type: ignore[import-untyped]

from postroom.collect.imap_connection import ImapConnection
from postroom.collect.pop3 import Pop3Mailbox
from postroom.collect.remote import Login, RemoteRefused, Security
from postroom.net.dial import dial
from postroom.net.tls import client_context
from tests.e2e.conftest import Account, client, execute, new_account
from tests.e2e.test_reading_clients import from_maildir, put_in
from tests.support.dovecot import Dovecot
from tests.support.live import DOMAIN, PASSWORD, LiveServer

pytestmark = pytest.mark.e2e

SECRET = "a secret of its own"


@dataclass(frozen=True)
class Secretive(Account):
    """An account with a secret beside its password."""

    secret: str = SECRET


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(
        tmp_path_factory.mktemp("digests"),
        workers=1,
        extra_config="[auth]\ncram_md5 = true\ndelay_minimum = 0\ndelay_maximum = 0\n",
    )
    made.write_config()
    text = made.config.read_text()
    for name, mode, more in (
        ("pop3s", "implicit", ""),
        ("pop3", "starttls", 'apop_cidrs = ["127.0.0.0/8"]\n'),
    ):
        told = f'port = {made.port(name)}\ntls = "{mode}"\n'
        assert told in text
        text = text.replace(told, f"{told}apop = true\n{more}")
    made.config.write_text(text)
    made.run("init")
    made.run("domain", "add", DOMAIN)
    made.start()
    yield made
    assert made.stop() == 0
    log = made.log_text()
    assert "Traceback" not in log
    assert SECRET not in log


@pytest.fixture
def account(server: LiveServer) -> Secretive:
    made = new_account(server)
    server.run("account", "secret", "set", made.address, "--secret-stdin", stdin=SECRET + "\n")
    return Secretive(server, made.address, made.password)


def trusting(account: Account) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(account.certificate))


def pop3s(account: Account) -> poplib.POP3_SSL:
    return poplib.POP3_SSL("localhost", account.server.port("pop3s"), context=trusting(account), timeout=30)


# --- APOP


def test_poplib_apop(account: Secretive) -> None:
    put_in(account, 2)
    greetings = set()
    for _ in range(2):
        pop = pop3s(account)
        greetings.add(pop.getwelcome())
        pop.apop(account.address, account.secret)
        assert pop.stat()[0] == 2
        pop.quit()
    assert len(greetings) == 2


def test_poplib_apop_refused(account: Secretive) -> None:
    plain = new_account(account.server)
    for name, secret in (
        (account.address, account.password),
        (plain.address, SECRET),
        (f"nobody@{DOMAIN}", SECRET),
    ):
        pop = pop3s(account)
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\] Authentication failed"):
            pop.apop(name, secret)
        with pytest.raises(poplib.error_proto, match="fresh timestamp"):
            pop.apop(account.address, account.secret)
        pop.close()
    pop = pop3s(account)
    pop.user(account.address)
    pop.pass_(account.password)
    pop.quit()


def test_poplib_apop_in_clear_and_after_stls(account: Secretive) -> None:
    pop = poplib.POP3("localhost", account.server.port("pop3"), timeout=30)
    with pytest.raises(poplib.error_proto, match="Encryption required"):
        pop.user(account.address)
    pop.apop(account.address, account.secret)
    pop.quit()
    pop = poplib.POP3("localhost", account.server.port("pop3"), timeout=30)
    pop.stls(trusting(account))
    with pytest.raises(poplib.error_proto, match="fresh timestamp"):
        pop.apop(account.address, account.secret)
    pop.close()


def test_curl_apop(account: Secretive) -> None:
    put_in(account, 1)
    said = execute([
        client("curl"), "--silent", "--show-error", "--cacert", str(account.certificate),
        "--user", f"{account.address}:{account.secret}", "--login-options", "AUTH=+APOP",
        "--url", f"pop3s://localhost:{account.server.port('pop3s')}/",
    ]).stdout  # fmt: skip
    assert said.startswith(b"1 ")


def fetchmail(account: Secretive, tmp_path: Path, protocol: str, more: str) -> list[bytes]:
    maildir = tmp_path / "mail"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    deliver = tmp_path / "deliver"
    deliver.write_text(
        f"#!{sys.executable}\nimport os, sys, tempfile\n"
        f"os.fdopen(tempfile.mkstemp(dir={str(maildir / 'new')!r})[0], 'wb').write(sys.stdin.buffer.read())\n"
    )
    deliver.chmod(0o700)
    config = tmp_path / "fetchmailrc"
    port = account.server.port("imaps" if protocol == "IMAP" else "pop3s")
    config.write_text(
        f"poll localhost protocol {protocol} port {port} {more}\n"
        f'user "{account.address}" password "{account.secret}" ssl sslcertck\n'
        f"sslcertfile {account.certificate} mda {deliver} keep\n"
    )
    config.chmod(0o600)
    execute(
        [client("fetchmail"), "-f", str(config), "--pidfile", str(tmp_path / "pid"), "-v", "--fetchall",
         "--idfile", str(tmp_path / "ids")],
        home=tmp_path,
    )  # fmt: skip
    return from_maildir(maildir)


@pytest.mark.parametrize(("protocol", "more"), [("APOP", ""), ("IMAP", "auth cram-md5")])
def test_fetchmail(account: Secretive, tmp_path: Path, protocol: str, more: str) -> None:
    put_in(account, 2)
    assert len(fetchmail(account, tmp_path, protocol, more)) == 2


@pytest.mark.parametrize("mechanism", ["apop", "cram-md5", "scram-sha-1"])
def test_mpop(account: Secretive, tmp_path: Path, mechanism: str) -> None:
    put_in(account, 2)
    maildir = tmp_path / "mail"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    config = tmp_path / "mpoprc"
    shown = account.password if mechanism.startswith("scram") else account.secret
    config.write_text(
        f"account default\nhost localhost\nport {account.server.port('pop3s')}\nuser {account.address}\n"
        f"password {shown}\ntls on\ntls_starttls off\ntls_trust_file {account.certificate}\n"
        f"auth {mechanism}\ndelivery maildir {maildir}\nkeep on\nuidls_file {tmp_path}/uidls\n"
    )
    config.chmod(0o600)
    execute([client("mpop"), f"--file={config}"], home=tmp_path)
    assert len(from_maildir(maildir)) == 2


def test_getmail_apop(account: Secretive, tmp_path: Path) -> None:
    put_in(account, 1)
    folder = tmp_path / "new"
    folder.mkdir()
    program = (
        "import os, sys, tempfile; "
        f"os.fdopen(tempfile.mkstemp(dir={str(folder)!r})[0], 'wb').write(sys.stdin.buffer.read())"
    )
    config = tmp_path / "getmailrc"
    config.write_text(
        f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {account.server.port('pop3s')}\n"
        f"username = {account.address}\npassword = {account.secret}\nuse_apop = true\nca_certs = {account.certificate}\n"
        f"[destination]\ntype = MDA_external\npath = {sys.executable}\n"
        f"arguments = ('-c', {program!r})\nallow_root_commands = true\nunixfrom = false\n"
        "[options]\ndelete = false\n"
    )
    execute([client("getmail"), "--getmaildir", str(tmp_path), "--rcfile", str(config)], home=tmp_path)
    assert len(list(folder.iterdir())) == 1


# --- CRAM-MD5


def test_imaplib_cram_md5(account: Secretive) -> None:
    with imaplib.IMAP4_SSL("localhost", account.server.port("imaps"), ssl_context=trusting(account)) as imap:
        assert "AUTH=CRAM-MD5" in imap.capabilities
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            imap.login_cram_md5(account.address, account.password)
        imap.login_cram_md5(account.address, account.secret)
        assert imap.select("INBOX")[0] == "OK"


def test_smtplib_cram_md5(account: Secretive) -> None:
    with smtplib.SMTP_SSL("localhost", account.server.port("submissions"), context=trusting(account)) as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features["auth"].split()[-1] == "CRAM-MD5"
        smtp.user, smtp.password = account.address, account.secret
        assert smtp.auth("CRAM-MD5", smtp.auth_cram_md5)[0] == 235


def test_curl_cram_md5(account: Secretive) -> None:
    for scheme, name in (("imaps", "imaps"), ("pop3s", "pop3s")):
        execute([
            client("curl"), "--silent", "--show-error", "--cacert", str(account.certificate),
            "--user", f"{account.address}:{account.secret}", "--login-options", "AUTH=CRAM-MD5",
            "--url", f"{scheme}://localhost:{account.server.port(name)}/",
        ])  # fmt: skip


@pytest.mark.parametrize("mechanism", ["cram-md5", "scram-sha-1"])
def test_msmtp(account: Secretive, tmp_path: Path, mechanism: str) -> None:
    config = tmp_path / "msmtprc"
    shown = account.password if mechanism.startswith("scram") else account.secret
    config.write_text(
        f"account default\nhost localhost\nport {account.server.port('submissions')}\nfrom {account.address}\n"
        f"user {account.address}\npassword {shown}\ntls on\ntls_starttls off\n"
        f"tls_trust_file {account.certificate}\nauth {mechanism}\n"
    )
    config.chmod(0o600)
    mail = f"From: {account.address}\r\nSubject: by digest\r\n\r\nHello\r\n".encode()
    execute([client("msmtp"), f"--file={config}", account.address], stdin=mail, home=tmp_path)


# --- SCRAM-SHA-1


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"])
def test_scramp(account: Secretive, mechanism: str) -> None:
    with imaplib.IMAP4_SSL("localhost", account.server.port("imaps"), ssl_context=trusting(account)) as imap:
        assert f"AUTH={mechanism}" in imap.capabilities
        binding = ("tls-server-end-point", imap.socket()) if mechanism.endswith("PLUS") else None
        its = scramp.ScramClient([mechanism], account.address, account.password, channel_binding=binding)
        answers = iter((
            lambda _: its.get_client_first(),
            lambda said: its.set_server_first(said) or its.get_client_final(),
            lambda said: its.set_server_final(said) or "",
        ))  # fmt: skip
        imap.authenticate(mechanism, lambda said: next(answers)(said.decode()).encode())
        assert imap.select("INBOX")[0] == "OK"


# --- our own clients


CASES = [
    ("cram-md5", Pop3Mailbox, "pop3s"),
    ("cram-md5", ImapConnection, "imaps"),
    ("apop", Pop3Mailbox, "pop3s"),
    ("scram-sha-1", Pop3Mailbox, "pop3s"),
    ("scram-sha-1", ImapConnection, "imaps"),
]


@pytest.mark.parametrize(("mechanism", "kind", "name"), CASES)
async def test_the_collector_at_dovecot(
    tmp_path: Path, mechanism: str, kind: type[Pop3Mailbox | ImapConnection], name: str
) -> None:
    """The only mechanism there."""
    with Dovecot(tmp_path / "dovecot.log", mechanisms=mechanism) as dovecot:
        context = client_context(dovecot.certificate)

        async def opened(password: str) -> None:
            connection = await dial("localhost", dovecot.port(name), tls=context, patience=20)
            try:
                login = Login(f"anna@{DOMAIN}", password, digest=not mechanism.startswith("scram"))
                await kind.open(connection, login, Security.IMPLICIT, context)
            finally:
                await connection.close()

        await opened(PASSWORD)
        with pytest.raises(RemoteRefused):
            await opened("another password")


@pytest.mark.parametrize(("kind", "name"), [(Pop3Mailbox, "pop3s"), (ImapConnection, "imaps")])
async def test_the_collector(account: Secretive, kind: type[Pop3Mailbox | ImapConnection], name: str) -> None:
    context = client_context(account.certificate)

    async def opened(secret: str) -> None:
        connection = await dial("localhost", account.server.port(name), tls=context, patience=20)
        try:
            login = Login(account.address, secret, digest=True)
            await kind.open(connection, login, Security.IMPLICIT, context)
        finally:
            await connection.close()

    await opened(account.secret)
    with pytest.raises(RemoteRefused):
        await opened(account.password)
