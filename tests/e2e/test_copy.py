"""``postroom copy`` between two real servers, over TLS: everything, again, after changes, and killed in the middle."""

from __future__ import annotations

import imaplib
import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import DOMAIN, PASSWORD, LiveServer

FOLDERS = {"INBOX": 30, "Sent": 5, "Projects/Über &c": 12, "Projects/Empty": 0}


def client(server: LiveServer, user: str = "anna") -> imaplib.IMAP4_SSL:
    context = ssl.create_default_context(cafile=str(server.data / "tls" / "cert.pem"))
    made = imaplib.IMAP4_SSL("localhost", server.port("imaps"), ssl_context=context)
    made.login(f"{user}@{DOMAIN}", PASSWORD)
    return made


def utf7(name: str) -> str:
    return '"' + name.replace("&", "&-").replace("Ü", "&ANw-") + '"'


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[LiveServer, LiveServer]]:
    """Source, with mail of all kinds, and target."""
    both = LiveServer(tmp_path / "a", workers=1), LiveServer(tmp_path / "b", workers=1)
    for server in both:
        server.write_config()
        server.run("init")
        server.run("domain", "add", DOMAIN)
        for user in ("anna", "bob"):
            server.run("account", "add", f"{user}@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    # One certificate: of two with the same name the client's library would try only one.
    for name in ("cert.pem", "key.pem"):
        shutil.copy(both[0].data / "tls" / name, both[1].data / "tls" / name)
    for server in both:
        server.start()
    chance = random.Random(5)
    with client(both[0]) as imap:
        for name, count in FOLDERS.items():
            if name not in ("INBOX", "Sent"):
                imap.create(utf7(name))
                imap.subscribe(utf7(name))
            for number in range(count):
                flags = " ".join(
                    flag for flag in (r"\Seen", r"\Flagged", "$Work", "odd") if chance.random() < 0.4
                )
                octets = (
                    f"Subject: {name.encode()!r} {number}\r\n\r\n{'x' * chance.randrange(3000)}\r\n".encode()
                )
                imap.append(
                    utf7(name), f"({flags})", f'"{number % 28 + 1:02}-Feb-2010 10:00:00 -0330"', octets
                )
    yield both
    for server in both:
        server.kill()


def arguments(servers: tuple[LiveServer, LiveServer], tmp_path: Path) -> list[str]:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    trust = servers[0].data / "tls" / "cert.pem"
    user = f"anna%40{DOMAIN}"
    urls = [f"imaps://{user}@localhost:{server.port('imaps')}" for server in servers]
    return [
        *urls,
        "--source-password-file", str(password), "--target-password-file", str(password),
        "--trust", str(trust), "--ledger", str(tmp_path / "ledger.sqlite"),
    ]  # fmt: skip


def command(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "postroom", "copy", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


def run(*words: str) -> dict[str, Any]:
    done = command(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


def contents(server: LiveServer, user: str = "anna") -> dict[str, list[bytes]]:
    """Every mailbox with its messages: octets, flags and dates, in order."""
    found = {}
    with client(server, user) as imap:
        for line in imap.list()[1]:
            assert isinstance(line, bytes)
            name = line.decode().partition(' "/" ')[2]
            imap.select(name, readonly=True)
            answer = imap.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
            found[name] = [
                part[0]
                .replace(b"\\Recent ", b"")
                .replace(b" \\Recent", b"")
                .replace(b"\\Recent", b"")
                .partition(b" ")[2]
                + part[1]
                for part in answer
                if isinstance(part, tuple)
            ]
    return found


def test_a_whole_account_and_again(servers: tuple[LiveServer, LiveServer], tmp_path: Path) -> None:
    source, target = servers
    words = arguments(servers, tmp_path)
    planned = run(*words, "--dry-run")
    assert sum(each["copied"] for each in planned["folders"]) == sum(FOLDERS.values())
    assert planned["proof"] is None
    done = run(*words)
    assert sum(each["copied"] for each in done["folders"]) == sum(FOLDERS.values())
    assert sum(each["same"] for each in done["proof"]) == sum(FOLDERS.values())
    assert contents(target) == contents(source)
    again = run(*words)
    assert sum(each["copied"] + each["adopted"] + each["flagged"] for each in again["folders"]) == 0
    # Without the ledger everything is known by its octets.
    (tmp_path / "ledger.sqlite").unlink()
    adopted = run(*words)
    assert sum(each["adopted"] for each in adopted["folders"]) == sum(FOLDERS.values())
    assert sum(each["copied"] for each in adopted["folders"]) == 0
    assert contents(target) == contents(source)


def test_changes_follow(servers: tuple[LiveServer, LiveServer], tmp_path: Path) -> None:
    source, target = servers
    words = arguments(servers, tmp_path)
    run(*words)
    with client(source) as imap:
        imap.select("INBOX")
        imap.store("2", "FLAGS", r"(\Answered new)")
        imap.store("5:6", "+FLAGS", r"\Deleted")
        imap.expunge()
        imap.append("INBOX", "", '"01-Jan-2011 10:00:00 +0000"', b"Subject: late\r\n\r\n")
    kept = command(*words)
    assert kept.returncode == 0, kept.stderr
    assert "the target has 2 more of its own" in kept.stdout
    done = run(*words, "--remove")
    inbox = next(each for each in done["folders"] if each["source"] == "INBOX")
    assert inbox["removed"] == 2
    assert {key: sorted(value) for key, value in contents(target).items()} == {
        key: sorted(value) for key, value in contents(source).items()
    }


def test_many_accounts_from_a_table(servers: tuple[LiveServer, LiveServer], tmp_path: Path) -> None:
    source, target = servers
    table = tmp_path / "accounts.csv"
    table.write_text(
        "source_user,source_password,target_user,target_password\n"
        f"anna@{DOMAIN},{PASSWORD},bob@{DOMAIN},{PASSWORD}\n"
        f"bob@{DOMAIN},wrong wrong wrong,anna@{DOMAIN},{PASSWORD}\n"
    )
    words = arguments(servers, tmp_path)
    hosts = [f"imaps://localhost:{server.port('imaps')}" for server in servers]
    done = command(*hosts, "--accounts", str(table), *words[6:], "--json")
    assert done.returncode == 69
    good, bad = json.loads(done.stdout)
    assert good["good"]
    assert f"bob@{DOMAIN}@localhost" in bad["error"]
    assert contents(target, "bob") == contents(source)


def test_killed_in_the_middle(servers: tuple[LiveServer, LiveServer], tmp_path: Path) -> None:
    source, target = servers
    words = arguments(servers, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-m", "postroom", "copy", *words, "--no-proof"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        time.sleep(0.5 + 0.04 * attempt)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(*words)
    assert {key: sorted(value) for key, value in contents(target).items()} == {
        key: sorted(value) for key, value in contents(source).items()
    }


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["imaps://localhost", "imaps://a@localhost"], "names no user"),
        (["pop3://a@localhost", "imaps://a@localhost"], "not of the form"),
        (["imaps://a:secret@localhost", "imaps://a@localhost"], "not of the form"),
        (["imaps://a@localhost:x", "imaps://a@localhost"], "imaps://a@localhost:x"),
    ],
)
def test_urls_that_do_not_do(words: list[str], why: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("x")
    done = command(*words, "--source-password-file", str(password), "--target-password-file", str(password))
    assert done.returncode == 64
    assert why in done.stderr
