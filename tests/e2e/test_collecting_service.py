"""``postroom serve`` collects by itself: on schedule by POP3, at once by IMAP's IDLE, in one of its workers."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_collect import digests
from tests.support.dovecot import Dovecot
from tests.support.live import DOMAIN, PASSWORD, LiveServer


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Dovecot]:
    with Dovecot(tmp_path / "dovecot.log") as server:
        yield server


@pytest.fixture
def here(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with two workers that is not started yet."""
    server = LiveServer(tmp_path / "here", workers=2)
    server.write_config()
    server.run("init")
    server.run("domain", "add", DOMAIN)
    server.run("account", "add", f"anna@{DOMAIN}", "--password-stdin", stdin=PASSWORD + "\n")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    yield server
    server.kill()


def add_source(server: LiveServer, there: Dovecot, name: str, settings: str) -> None:
    with server.config.open("a") as config:
        config.write(
            f'\n[[collect]]\nname = "{name}"\naccount = "anna@{DOMAIN}"\nhost = "localhost"\n'
            f'user = "anna@{DOMAIN}"\npassword_file = "{server.root.parent}/password"\n'
            f'certificate_authorities = "{there.certificate}"\n{settings}'
        )


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.1)


def append(there: Dovecot, number: int) -> None:
    with there.client() as client:
        client.append("INBOX", "", "", f"Subject: {number}\r\n\r\nbody\r\n".encode())


def collected(server: LiveServer) -> int:
    """Messages collected, by the metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port('metrics')}/metrics") as response:
        for line in response.read().decode().splitlines():
            if line.startswith("postroom_collected_messages_total "):
                return int(float(line.split()[1]))
    return 0


def left(there: Dovecot) -> int:
    with there.client() as client:
        return int(client.select("INBOX", readonly=True)[1][0] or b"0")


def test_new_mail_comes_at_once_by_idle(there: Dovecot, here: LiveServer) -> None:
    add_source(
        here,
        there,
        "old",
        f'protocol = "imap"\nport = {there.port("imaps")}\ninterval = "1h"\nkeep = false\n',
    )
    append(there, 1)
    here.start()
    until(lambda: collected(here) == 1)
    # Until the next scheduled run is an hour: what comes now comes by IDLE.
    append(there, 2)
    until(lambda: collected(here) == 2)
    until(lambda: left(there) == 0)
    append(there, 3)
    until(lambda: collected(here) == 3)
    until(lambda: left(there) == 0)
    assert here.stop() == 0, "the open session does not keep the server from ending"
    assert len(digests(here)) == 3
    assert here.log_text().count('"collected"') == 3
    assert "Traceback" not in here.log_text()
    # The lock is free, and everything is known.
    assert "fetched 0 messages" in here.run("collect").stdout


def test_on_schedule_by_pop3_while_another_source_fails(there: Dovecot, here: LiveServer) -> None:
    add_source(here, there, "old", f'port = {there.port("pop3s")}\ninterval = "1s"\n')
    add_source(here, there, "gone", f'port = {there.port("imap")}\ntls = "starttls"\ninterval = "1s"\n')
    here.start()
    for number in range(1, 4):
        append(there, number)
        until(lambda number=number: collected(here) == number)  # type: ignore[misc]
    until(lambda: here.log_text().count('"collecting failed"') >= 2)
    assert here.stop() == 0
    assert len(digests(here)) == 3
    log = here.log_text()
    assert "Traceback" not in log
    assert '"failures":2' in log.replace(": ", ":")
    assert PASSWORD not in log


def test_a_lost_connection_is_made_again(there: Dovecot, here: LiveServer) -> None:
    add_source(here, there, "old", f'protocol = "imap"\nport = {there.port("imaps")}\ninterval = "2s"\n')
    append(there, 1)
    here.start()
    until(lambda: collected(here) == 1)
    there.restart()
    append(there, 2)
    until(lambda: collected(here) == 2)
    assert here.stop() == 0
    assert len(digests(here)) == 2
