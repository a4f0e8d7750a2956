"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = "postroom.testing.plugin"


def is_installed() -> bool:
    """Whether pytest finds the plugin by itself here: an environment made before the entry point was there does not."""
    return any(each.value == MODULE for each in importlib.metadata.entry_points(group="pytest11"))


def run_pytest(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a file, in a process of its own, as a user of postroom would."""
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    plugin = () if is_installed() else ("-p", MODULE)
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDEVMODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    # A folder of its own for temporary files: in the common one pytest sweeps up what earlier runs left, which may be
    # the stores of thousands of tests and take minutes.
    own = ("-p", "no:cacheprovider", "-p", "no:asyncio", "--basetemp", str(folder / "temporary"))
    return subprocess.run(
        [sys.executable, "-m", "pytest", *own, *plugin, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


EVERY_FIXTURE = """
import imaplib, poplib, smtplib

SEEN = set()


def send(endpoint, to, lmtp=False):
    with (smtplib.LMTP if lmtp else smtplib.SMTP)(*endpoint) as client:
        client.sendmail("bob@elsewhere.test", [to], "Subject: hello\\r\\n\\r\\nhi\\r\\n")


def test_receive(postroom_server, postroom_account, postroom_smtp, postroom_lmtp, postroom_imap, postroom_pop3):
    SEEN.add(postroom_server.ports["smtp"])
    assert postroom_server.messages(postroom_account.address) == []
    send(postroom_smtp, postroom_account.address)
    send(postroom_lmtp, postroom_account.address, lmtp=True)
    assert len(postroom_server.messages(postroom_account.address)) == 2
    with imaplib.IMAP4(*postroom_imap) as imap:
        imap.login(*postroom_account)
        assert imap.select() == ("OK", [b"2"])
    pop3 = poplib.POP3(*postroom_pop3)
    pop3.user(postroom_account.address)
    pop3.pass_(postroom_account.password)
    assert pop3.stat()[0] == 2
    pop3.quit()


def test_every_test_begins_anew(postroom_server, postroom_account, postroom_submission):
    SEEN.add(postroom_server.ports["smtp"])
    assert postroom_server.messages(postroom_account.address) == []
    assert postroom_server.outbox == []
    with smtplib.SMTP(*postroom_submission) as client:
        client.login(*postroom_account)
        text = f"From: {postroom_account.address}\\r\\n\\r\\nhi\\r\\n"
        client.sendmail(postroom_account.address, ["eve@foreign.test"], text)
    assert len(postroom_server.outbox) == 1
    postroom_server.refuse(postroom_account.address)


def test_and_anew(postroom_server, postroom_account, postroom_smtp):
    SEEN.add(postroom_server.ports["smtp"])
    assert postroom_server.outbox == []
    send(postroom_smtp, postroom_account.address)
    assert len(SEEN) == 1


def test_tls(postroom_tls_server):
    postroom_tls_server.add_account("ann@example.test", "secret")
    context = postroom_tls_server.client_context()
    with smtplib.SMTP_SSL(*postroom_tls_server.submissions, context=context) as client:
        client.login("ann@example.test", "secret")


def test_more_servers(postroom_new_server):
    first, second = postroom_new_server(), postroom_new_server()
    assert first.ports["imap"] != second.ports["imap"]


def test_log(postroom_server, postroom_account, postroom_smtp, caplog):
    caplog.set_level("INFO", logger="postroom")
    send(postroom_smtp, postroom_account.address)
    assert "event='message'" in caplog.text
    assert "outcome='ok'" in caplog.text
"""


def test_every_fixture(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, EVERY_FIXTURE)
    assert "6 passed" in done.stdout, done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_with_xdist(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, EVERY_FIXTURE, "-n", "2")
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_a_failing_test_shows_the_log_and_nothing_else_prints(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "import smtplib, pytest\n"
        "def test_it(postroom_server, postroom_account, postroom_submission):\n"
        "    with smtplib.SMTP(*postroom_submission) as client:\n"
        "        client.login(postroom_account.address, 'no such password')\n"
        "def test_fine(postroom_server):\n    pass\n",
        "-p",
        "no:randomly",
    )
    assert "1 failed, 1 passed" in done.stdout
    assert "WARNING  postroom.session" in done.stdout
    assert "no such password" not in done.stdout.split("Captured log")[1]
    assert done.stderr == ""


def test_nothing_is_imported_before_it_is_used(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "import sys, threading\n"
        "def test_it():\n"
        "    assert 'postroom.testing.plugin' in sys.modules\n"
        "    ours = sorted(m for m in sys.modules if m.startswith('postroom'))\n"
        "    assert ours == ['postroom', 'postroom.testing', 'postroom.testing.plugin']\n"
        "    assert not {'apsw', 'structlog', 'argon2', 'cryptography'} & set(sys.modules)\n"
        "    assert threading.active_count() == 1\n",
        "-p",
        "no:xdist",
        "-p",
        "no:timeout",
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_fixtures_have_names_of_their_own(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "", "--fixtures", "-q")
    names = re.findall(rf"^(\S+).* -- .*{MODULE.replace('.', '/')}\.py", done.stdout, re.MULTILINE)
    assert len(names) == 11, done.stdout
    assert all(name.startswith("postroom_") for name in names)


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"postroom": MODULE}
    __import__(MODULE)


def test_a_program_that_configured_structlog_keeps_it(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "import structlog\n"
        "from postroom.testing import ThreadedServer\n"
        "def test_before():\n"
        "    seen = []\n"
        "    structlog.configure(processors=[lambda *event: seen.append(event) or ''])\n"
        "    mine = structlog.get_config()\n"
        "    with ThreadedServer():\n"
        "        assert structlog.get_config() == mine\n"
        "    assert structlog.get_config() == mine\n"
        "    structlog.reset_defaults()\n"
        "def test_meanwhile():\n"
        "    with ThreadedServer():\n"
        "        assert structlog.is_configured()\n"
        "        structlog.configure(cache_logger_on_first_use=False, logger_factory=structlog.PrintLoggerFactory())\n"
        "    assert structlog.is_configured()\n"
        "    structlog.reset_defaults()\n"
        "def test_after():\n"
        "    with ThreadedServer() as first:\n"
        "        with ThreadedServer():\n"
        "            pass\n"
        "        assert structlog.is_configured()\n"
        "    assert not structlog.is_configured()\n",
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr
