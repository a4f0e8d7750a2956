"""Configurations of the other servers: nothing listens beyond loopback, nothing is less durable than by default."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from bench.peers import cyrus, dovecot, postfix
from bench.rows.messages import RARE, compose
from bench.server import ACCOUNTS, Server, Unavailable, free_ports

from bench import install

TEXTS = {
    "dovecot": dovecot.CONFIG,
    "postfix main.cf": postfix.MAIN,
    "postfix master.cf": postfix.MASTER,
    "cyrus imapd.conf": cyrus.IMAPD,
    "cyrus.conf": cyrus.SERVICES,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_durability_is_as_it_is_by_default(text: str) -> None:
    assert not re.search(r"fsync|unsafe|sync *=", text)


def test_listeners_are_on_loopback() -> None:
    assert TEXTS["dovecot"].count("inet_listener") == TEXTS["dovecot"].count("address = 127.0.0.1") + 1
    assert "inet_listener pop3s {{\n    port = 0" in TEXTS["dovecot"]
    assert "inet_interfaces = 127.0.0.1" in TEXTS["postfix main.cf"]
    assert [line.split()[0] for line in TEXTS["postfix master.cf"].splitlines() if " inet " in line] == [
        "127.0.0.1:{smtp}"
    ]
    listeners = re.findall(r'listen="(.*?)"', TEXTS["cyrus.conf"])
    assert len(listeners) == 4
    assert all(where.startswith("127.0.0.1:") for where in listeners)


def test_accounts_have_different_names() -> None:
    assert len(set(ACCOUNTS)) == len(ACCOUNTS) == 193


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20


def test_what_is_not_there_and_may_not_be_installed_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="needs apt and root"):
        install.find("no-such-mail-server", ["no-such-package"])


def test_cpu_time_is_that_of_the_process_and_of_those_it_has_waited_for(tmp_path: Path) -> None:
    class Shell(Server):
        name = "sh"
        services = frozenset()

        def start(self) -> None:
            burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
            self.launch(["sh", "-c", f'sh -c "{burn.replace("$", chr(92) + "$")}"; : > done; sleep 60'])

    server = Shell(tmp_path)
    server.start()
    assert server.process is not None
    try:
        while not server.cpu_seconds() and server.process.poll() is None:
            pass
        assert server.cpu_seconds() > 0
        assert server.process.pid in server.pids()
        assert server.memory() > 0
    finally:
        server.stop()


def test_messages_differ_and_some_have_a_rare_word() -> None:
    octets = [compose(4096, number) for number in range(400, 600)]
    assert len(set(octets)) == 200
    assert compose(4096, 400) == octets[0]
    assert [number for number, text in enumerate(octets, 400) if RARE.encode() in text] == [500]
    assert f"\r\n{RARE}2\r\n".encode() in compose(4096, 1700)
    assert all(3900 < len(text) < 4300 and text.endswith(b"\r\n") for text in octets)
    assert max(len(line) for text in octets for line in text.split(b"\r\n")) <= 200
