"""SDPS on a real server: one domain, one password, several people; fetchmail asks for envelopes (getmail6 6.18 does,
too, and then fails on them: octets where it expects text)."""

from __future__ import annotations

import base64
import json
import poplib
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import client, execute
from tests.support.live import DOMAIN, PASSWORD, LiveServer, free_base_port

pytestmark = pytest.mark.e2e

OWNER = f"owner@{DOMAIN}"
HOST = "family.test"
MESSAGE = b"From: x@elsewhere.test\r\nTo: undisclosed\r\nSubject: hello\r\n\r\nto everybody\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    base = free_base_port()
    made = LiveServer(tmp_path_factory.mktemp("sdps") / "server", base_port=base)
    made.write_config()
    with made.config.open("a") as config:
        config.write(
            f'\n[[listeners]]\nprotocol = "pop3"\naddress = "127.0.0.1"\nport = {base + 109}\npop3_sdps = true\n'
            'cleartext_auth_cidrs = ["127.0.0.0/8"]\n'
        )
    made.run("init")
    made.run("domain", "add", DOMAIN)
    made.run("account", "add", OWNER, "--password-stdin", stdin=PASSWORD + "\n")
    made.run("domain", "add", HOST, "--catch-all", OWNER)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def port(server: LiveServer) -> Iterator[int]:
    """The listener with SDPS; two messages wait, each for two people of the host. Afterwards nothing is left."""
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as smtp:
        for sender in ("one@elsewhere.test", "two@elsewhere.test"):
            smtp.sendmail(sender, [f"anna@{HOST}", f"ben@{HOST}"], MESSAGE)
    yield server.base_port + 109
    empty(server.base_port + 109)


def empty(port: int) -> None:
    pop = log_in(port, OWNER)
    for number in range(1, pop.stat()[0] + 1):
        pop.dele(number)
    pop.quit()


def log_in(port: int, user: str) -> poplib.POP3:
    pop = poplib.POP3("127.0.0.1", port, timeout=60)
    pop.user(user)
    pop.pass_(PASSWORD)
    return pop


def envelopes(pop: poplib.POP3) -> list[tuple[str, str]]:
    found = []
    for number in range(1, pop.stat()[0] + 1):
        _, lines, _ = pop._longcmd(f"*ENV {number}")  # type: ignore[attr-defined]
        found.append((lines[2].decode(), lines[3].decode()))
    return found


def test_one_password_for_several_people(port: int) -> None:
    pop = log_in(port, HOST)
    assert sorted(envelopes(pop)) == [
        (f"{sender}@elsewhere.test", f"{user}@{HOST}")
        for sender in ("one", "two")
        for user in ("anna", "ben")
    ]
    pop.quit()
    anna = log_in(port, f"anna+{HOST}")
    assert {recipient for _, recipient in envelopes(anna)} == {f"anna@{HOST}"}
    for number in (1, 2):
        anna.dele(number)
    anna.quit()
    ben = log_in(port, f"ben@{HOST}")
    assert envelopes(ben) == [(f"{sender}@elsewhere.test", f"ben@{HOST}") for sender in ("one", "two")]
    ben.quit()


def test_fetchmail_sorts_by_envelope(server: LiveServer, port: int, tmp_path: Path) -> None:
    """fetchmail drops copies that look the same, so each of them has a message of their own."""
    empty(port)
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as smtp:
        for user in ("anna", "ben"):
            smtp.sendmail("one@elsewhere.test", [f"{user}@{HOST}"], MESSAGE.replace(b"hello", user.encode()))
    config = tmp_path / "fetchmailrc"
    config.write_text(
        f"poll 127.0.0.1 protocol sdps service {port} localdomains {HOST} no dns\n"
        f'  user "{HOST}" password "{PASSWORD}" to * here sslproto "" no rewrite\n'
    )
    config.chmod(0o600)
    taken = tmp_path / "bsmtp"
    arguments = [client("fetchmail"), "--fetchmailrc", str(config), "--bsmtp", str(taken), "--nosyslog",
                 "--idfile", str(tmp_path / "ids"), "--pidfile", str(tmp_path / "pid")]  # fmt: skip
    execute(arguments, home=tmp_path)
    lines = taken.read_text().splitlines()
    assert sorted(line.partition(">")[0] for line in lines if line.startswith("MAIL FROM:")) == [
        "MAIL FROM:<one@elsewhere.test",
        "MAIL FROM:<one@elsewhere.test",
    ]
    assert sorted(line.partition("@")[0] for line in lines if line.startswith("RCPT TO:")) == [
        "RCPT TO:<anna",
        "RCPT TO:<ben",
    ]
    left = log_in(port, HOST)
    assert left.stat()[0] == 0
    left.quit()


@pytest.mark.parametrize(("authzid", "user", "shown"), [
    ("", f"anna@{HOST}", 2), ("", f"ben+{HOST}", 2), ("", HOST, 4), ("", OWNER, 4), (OWNER, f"anna@{HOST}", 4),
    (f"ben@{HOST}", OWNER, 2), ("", f"carl@{HOST}", 0),
])  # fmt: skip
def test_names_for_auth(port: int, authzid: str, user: str, shown: int) -> None:
    pop = poplib.POP3("127.0.0.1", port, timeout=20)
    response = base64.b64encode(f"{authzid}\0{user}\0{PASSWORD}".encode()).decode()
    pop._shortcmd(f"AUTH PLAIN {response}")  # type: ignore[attr-defined]
    assert pop.stat()[0] == shown
    pop.quit()


def test_a_stranger_is_refused(port: int) -> None:
    for response in (
        f"\0anna@elsewhere.test\0{PASSWORD}",
        f"\0anna@{HOST}\0wrong",
        f"nobody@{DOMAIN}\0{HOST}\0{PASSWORD}",
    ):
        pop = poplib.POP3("127.0.0.1", port, timeout=20)
        with pytest.raises(poplib.error_proto, match="AUTH"):
            pop._shortcmd("AUTH PLAIN " + base64.b64encode(response.encode()).decode())  # type: ignore[attr-defined]
        pop.close()


def test_our_collector_sorts_by_envelope(server: LiveServer, port: int, tmp_path: Path) -> None:
    here = LiveServer(tmp_path / "here", base_port=free_base_port())
    here.write_config()
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    with here.config.open("a") as config:
        config.write(
            f'\n[[collect]]\nname = "family"\naccount = "rest@{DOMAIN}"\nprotocol = "pop3"\nhost = "127.0.0.1"\nport = {port}\n'
            f'tls = "none"\npassword_in_clear = true\nuser = "{HOST}"\npassword_file = "{secret}"\nmultidrop = ["*ENV"]\n'
        )
    here.run("init")
    for domain in (DOMAIN, HOST):
        here.run("domain", "add", domain)
    for name in (f"rest@{DOMAIN}", f"anna@{HOST}"):
        here.run("account", "add", name, "--password-stdin", stdin=PASSWORD + "\n")
    done = json.loads(here.run("collect", "--json").stdout)
    assert "4" in str(done)
    held = {
        row["name"]: row["messages"]
        for row in json.loads(here.run("account", "list", "--usage", "--json").stdout)
    }
    # Nobody here is ben: what is his goes to the account of the source.
    assert held == {f"anna@{HOST}": 2, f"rest@{DOMAIN}": 2}
