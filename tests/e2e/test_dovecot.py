"""``postroom collect`` from Debian's Dovecot, and ``postroom copy`` from Dovecot over postroom to Dovecot:
nothing changes."""

from __future__ import annotations

import hashlib
import imaplib
import json
import poplib
import random
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.test_collect import digests
from tests.e2e.test_collect import make as make_server
from tests.e2e.test_copy import run as copy
from tests.support.dovecot import Dovecot
from tests.support.live import DOMAIN, PASSWORD, LiveServer

COUNT = 25


def message(number: int) -> bytes:
    """One of many, each different, with lines that need stuffing, 8-bit octets and no last line end."""
    return f"Subject: number {number}\r\n\r\n.\r\n..{number}\r\nä".encode()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Dovecot]:
    """The server mail is fetched from."""
    with Dovecot(tmp_path / "dovecot.log") as server:
        with server.client() as client:
            for number in range(COUNT):
                client.append("INBOX", "", "", message(number))
        yield server


def here(tmp_path: Path, there: Dovecot, settings: str) -> LiveServer:
    """The server that fetches; ``settings`` of its one source."""
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    server = make_server(tmp_path / "here")
    with server.config.open("a") as config:
        config.write(
            f'\n[[collect]]\nname = "old"\naccount = "anna@{DOMAIN}"\nhost = "localhost"\nuser = "anna@{DOMAIN}"\n'
            f'password_file = "{password}"\ncertificate_authorities = "{there.certificate}"\n{settings}'
        )
    return server


def left(there: Dovecot) -> int:
    """How many messages lie in INBOX over there."""
    with there.client() as client:
        return int(client.select("INBOX", readonly=True)[1][0] or b"0")


def expected(end: bytes) -> list[str]:
    """What ``digests`` gives when everything is there."""
    return sorted(hashlib.sha256(message(number) + end).hexdigest() for number in range(COUNT))


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_collect_leaves_then_deletes(tmp_path: Path, there: Dovecot, protocol: str, tls: str) -> None:
    port = there.port(protocol if tls == "starttls" else protocol + "s")
    server = here(tmp_path, there, f'protocol = "{protocol}"\nport = {port}\ntls = "{tls}"\nkeep = true\n')
    first = json.loads(server.run("collect", "--json").stdout)[0]
    assert (first["listed"], first["stored"], first["deleted"], first["problems"]) == (COUNT, COUNT, 0, [])
    got = digests(server)
    if protocol == "imap":
        assert got == expected(b"")
        with there.client() as client:
            client.select("INBOX", readonly=True)
            assert len(client.search(None, "UNSEEN")[1][0].split()) == COUNT, (
                "collecting by IMAP reads nothing"
            )
    else:
        assert got == expected(b"\r\n"), "POP3 ends every message with a line end"
    assert left(there) == COUNT
    server.config.write_text(server.config.read_text().replace("keep = true", "keep = false"))
    second = json.loads(server.run("collect", "--json").stdout)[0]
    assert (second["stored"], second["known"], second["deleted"]) == (0, COUNT, COUNT)
    assert left(there) == 0
    assert digests(server) == got


def test_collect_takes_the_rest_after_a_wrong_password(tmp_path: Path, there: Dovecot) -> None:
    server = here(tmp_path, there, f"port = {there.port('pop3s')}\n")
    password = tmp_path / "password"
    password.write_text("wrong\n")
    failed = server.run("collect", check=False)
    assert failed.returncode == 69
    assert "old: AUTH: [AUTH]" in failed.stderr
    password.write_text(PASSWORD + "\n")
    assert f"fetched {COUNT} messages" in server.run("collect").stdout


# --- copy

FOLDERS = {
    "INBOX": 20,
    "Sent": 4,
    "Bin": 3,
    "Spam": 2,
    "Archive": 5,
    "Projects": 1,
    "Projects.Über &c": 0,  # postroom has no levels without a mailbox
    "Projects.Über &c.deep": 8,
    "Empty": 0,
}
SPECIAL = {"\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\\Archive"}


@dataclass(frozen=True)
class Folder:
    """What must be the same on both sides."""

    special: frozenset[str]
    messages: tuple[tuple[bytes, frozenset[str], bytes], ...]


def fill(client: imaplib.IMAP4_SSL) -> None:
    """Mailboxes with flags, keywords and dates of all kinds."""
    chance = random.Random(11)
    for name, count in FOLDERS.items():
        quoted = '"' + name.replace("&", "&-").replace("Ü", "&ANw-") + '"'
        client.create(quoted)
        client.subscribe(quoted)
        for number in range(count):
            words = (r"\Seen", r"\Flagged", r"\Answered", r"\Draft", "$Forwarded", "Work", "odd.keyword")
            flags = " ".join(flag for flag in words if chance.random() < 0.4)
            zone = chance.choice(["-0330", "+0000", "+1345"])
            octets = f"Subject: {number} of {name}\r\n\r\n{'x' * chance.randrange(3000)}\r\n.\r\näöü".encode()
            client.append(
                quoted, f"({flags})", f'"{number % 28 + 1:02}-Feb-2010 10:00:{number:02} {zone}"', octets
            )


_LISTED = re.compile(rb'\((?P<attributes>[^)]*)\) "(?P<separator>.)" "?(?P<name>[^"]*)"?$')
_FETCHED = re.compile(rb'FLAGS \((?P<flags>[^)]*)\) INTERNALDATE "(?P<date>[^"]*)"')


def contents(client: imaplib.IMAP4_SSL) -> dict[str, Folder]:
    """Every mailbox with its special use and its messages in order, names with "/" between levels."""
    found = {}
    with client:
        for line in client.list()[1]:
            listed = _LISTED.search(line) if isinstance(line, bytes) else None
            assert listed, line
            attributes = set(listed["attributes"].decode().split())
            if "\\Noselect" in attributes:
                continue
            kind, count = client.select(b'"' + listed["name"] + b'"', readonly=True)  # type: ignore[arg-type]
            assert kind == "OK"
            messages = []
            parts = client.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1] if count != [b"0"] else []
            for part in parts:
                if isinstance(part, tuple):
                    fetched = _FETCHED.search(part[0])
                    assert fetched, part[0]
                    flags = frozenset(fetched["flags"].decode().split()) - {"\\Recent"}
                    messages.append((part[1], flags, fetched["date"].lstrip(b" 0")))
            name = listed["name"].replace(listed["separator"], b"/").decode()
            found[name] = Folder(frozenset(attributes & SPECIAL), tuple(messages))
    return found


def postroom_client(server: LiveServer) -> imaplib.IMAP4_SSL:
    context = ssl.create_default_context(cafile=str(server.data / "tls" / "cert.pem"))
    made = imaplib.IMAP4_SSL("localhost", server.port("imaps"), ssl_context=context)
    made.login(f"anna@{DOMAIN}", PASSWORD)
    return made


def test_copy_over_postroom_and_back_changes_nothing(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    between = make_server(tmp_path / "between")
    with Dovecot(tmp_path / "first.log") as first, Dovecot(tmp_path / "second.log") as second:
        with first.client() as client:
            fill(client)
        between.start()
        try:
            trust = tmp_path / "trust.pem"
            words = [
                "--source-password-file", str(password), "--target-password-file", str(password), "--trust", str(trust),
            ]  # fmt: skip

            def url(port: int) -> str:
                return f"imaps://anna%40{DOMAIN}@localhost:{port}"

            copies = (
                (first.certificate, url(first.port("imaps")), between.data / "tls" / "cert.pem", url(between.port("imaps"))),
                (between.data / "tls" / "cert.pem", url(between.port("imaps")), second.certificate, url(second.port("imaps"))),
            )  # fmt: skip
            for number, (source_trust, source, target_trust, target) in enumerate(copies):
                trust.write_text(source_trust.read_text() + target_trust.read_text())
                ledger = ["--ledger", str(tmp_path / f"ledger{number}.sqlite")]
                done = copy(source, target, *words, *ledger)
                assert sum(each["copied"] for each in done["folders"]) == sum(FOLDERS.values())
                assert sum(each["same"] for each in done["proof"]) == sum(FOLDERS.values())
                again = copy(source, target, *words, *ledger)
                assert (
                    sum(each["copied"] + each["adopted"] + each["flagged"] for each in again["folders"]) == 0
                )
            before, after = contents(first.client()), contents(second.client())
            assert sum(len(folder.messages) for folder in before.values()) == sum(FOLDERS.values())
            assert after == before
            by_use = {
                use: folder.messages
                for folder in contents(postroom_client(between)).values()
                for use in folder.special
                if folder.messages
            }
            assert by_use == {
                use: folder.messages
                for folder in before.values()
                for use in folder.special
                if folder.messages
            }
        finally:
            between.kill()


def listed(port: int, trust: Path) -> dict[str, str]:
    """Unique ids by subject."""
    pop = poplib.POP3_SSL(
        "localhost", port, context=ssl.create_default_context(cafile=str(trust)), timeout=60
    )
    pop.user(f"anna@{DOMAIN}")
    pop.pass_(PASSWORD)
    found = {}
    for line in pop.uidl()[1]:
        number, unique_id = line.decode().split()
        found[b"\n".join(pop.top(int(number), 0)[1]).decode("latin-1")] = unique_id
    pop.quit()
    return found


@pytest.mark.parametrize("way", ["dovecot", "pop3s", "pop3"])
def test_unique_ids_come_along(tmp_path: Path, there: Dovecot, way: str) -> None:
    with there.client() as client:
        client.select("INBOX")
        client.store("3,7:9", "+FLAGS", r"(\Deleted)")
        client.expunge()
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    server = make_server(tmp_path / "here")
    server.start()
    try:
        certificate = server.data / "tls" / "cert.pem"
        trust = tmp_path / "trust.pem"
        trust.write_text(there.certificate.read_text() + certificate.read_text())
        known = way if way == "dovecot" else f"{way}://localhost:{there.port(way)}"
        done = copy(
            f"imaps://anna%40{DOMAIN}@localhost:{there.port('imaps')}",
            f"imaps://anna%40{DOMAIN}@localhost:{server.port('imaps')}",
            "--source-password-file", str(password), "--target-password-file", str(password), "--trust", str(trust),
            "--ledger", str(tmp_path / "ledger.sqlite"), "--unique-ids", known, "--unique-ids-folder", str(tmp_path / "ids"),
        )  # fmt: skip
        assert done["unique_ids"] == {"known": COUNT - 4, "unknown": 0}
        file = tmp_path / "ids" / f"anna@{DOMAIN}.csv"
        server.run("mailbox", "uidl", "import", f"anna@{DOMAIN}", str(file))
        before = listed(there.port("pop3s"), there.certificate)
        assert len(before) == COUNT - 4
        assert listed(server.port("pop3s"), certificate) == before
    finally:
        server.kill()
