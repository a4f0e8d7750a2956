"""curl, fetchmail, getmail, mpop, mbsync, offlineimap and neomutt read mail over TLS."""

from __future__ import annotations

import imaplib
import mailbox
import os
import pty
import select
import smtplib
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import MESSAGE, Account, client, execute, without_trace
from tests.e2e.test_sending_clients import stored

pytestmark = pytest.mark.e2e


def put_in(account: Account, count: int = 3) -> list[bytes]:
    """Deliver some messages by LMTP; returns what was sent."""
    messages = [MESSAGE.replace(b"<one@", b"<%d@" % number) for number in range(count)]
    with smtplib.LMTP("localhost", account.server.port("lmtp")) as lmtp:
        for message in messages:
            lmtp.sendmail("someone@elsewhere.test", [account.address], message, ["BODY=8BITMIME"])
    return messages


def from_maildir(folder: Path) -> list[bytes]:
    """The messages of a Maildir with CRLF line ends, in the order of their names."""
    files = sorted([*folder.glob("cur/*"), *folder.glob("new/*")], key=lambda path: path.name)
    return [path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path in files]


def test_curl_reads_pop3(account: Account) -> None:
    sent = put_in(account)
    base = [client("curl"), "--silent", "--show-error", "--ssl-reqd", "--cacert", str(account.certificate),
            "--user", f"{account.address}:{account.password}"]  # fmt: skip
    for scheme, port in (("pop3", "pop3"), ("pop3s", "pop3s")):
        url = f"{scheme}://localhost:{account.server.port(port)}"
        assert len(execute([*base, "--url", url + "/"]).stdout.splitlines()) == 3
        got = execute([*base, "--url", url + "/2"]).stdout
        assert without_trace(got, sent[1]) == sent[1]


def test_curl_reads_imap(account: Account) -> None:
    sent = put_in(account)
    base = [client("curl"), "--silent", "--show-error", "--ssl-reqd", "--cacert", str(account.certificate),
            "--user", f"{account.address}:{account.password}"]  # fmt: skip
    for scheme, port in (("imap", "imap"), ("imaps", "imaps")):
        url = f"{scheme}://localhost:{account.server.port(port)}"
        listed = execute([*base, "--url", url + "/"]).stdout
        assert b"INBOX" in listed
        assert b"\\Sent" in listed
        got = execute([*base, "--url", url + "/INBOX;MAILINDEX=2"]).stdout
        assert without_trace(got, sent[1]) == sent[1]
        found = execute([*base, "--url", url + "/INBOX?SUBJECT%20Gr"]).stdout
        assert found.strip() == b"* SEARCH 1 2 3"


def test_curl_appends_by_imap(account: Account, tmp_path: Path) -> None:
    body = tmp_path / "message"
    body.write_bytes(MESSAGE)
    execute(
        [
            client("curl"), "--silent", "--show-error", "--ssl-reqd", "--cacert", str(account.certificate),
            "--user", f"{account.address}:{account.password}", "--upload-file", str(body),
            "--url", f"imaps://localhost:{account.server.port('imaps')}/Archive",
        ]
    )  # fmt: skip
    assert stored(account, "Archive") == [MESSAGE]


def test_fetchmail(account: Account, tmp_path: Path) -> None:
    sent = put_in(account)
    config = tmp_path / "fetchmailrc"
    config.write_text(
        f"poll localhost protocol pop3 service {account.server.port('pop3s')} uidl\n"
        f'  user "{account.address}" password "{account.password}" ssl sslcertck\n'
        f'  sslcertfile "{account.certificate}" keep no rewrite\n'
    )
    config.chmod(0o600)
    taken = tmp_path / "bsmtp"
    arguments = [client("fetchmail"), "--fetchmailrc", str(config), "--bsmtp", str(taken), "--nosyslog",
                 "--idfile", str(tmp_path / "ids"), "--pidfile", str(tmp_path / "pid")]  # fmt: skip
    execute(arguments, home=tmp_path)
    got = taken.read_bytes().replace(b"\r\n", b"\n")
    for message in sent:
        headers_and_body = message.replace(b"\r\n", b"\n").replace(b"\n.", b"\n..")
        assert headers_and_body.split(b"\n\n", 1)[1] in got
    again = subprocess.run(
        arguments, capture_output=True, timeout=120, env={"HOME": str(tmp_path), "PATH": "/usr/bin"}
    )
    assert again.returncode == 1, "fetchmail answers 1 when there is no new mail"
    assert len(stored(account)) == 3


def test_getmail(account: Account, tmp_path: Path) -> None:
    sent = put_in(account)
    folder = tmp_path / "cur"
    folder.mkdir()
    # getmail delivers nothing itself when run by root, so each message goes to a program that files it.
    program = (
        "import os, sys, tempfile; "
        f"os.fdopen(tempfile.mkstemp(dir={str(folder)!r})[0], 'wb').write(sys.stdin.buffer.read())"
    )
    config = tmp_path / "getmailrc"
    config.write_text(
        f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {account.server.port('pop3s')}\n"
        f"username = {account.address}\npassword = {account.password}\nca_certs = {account.certificate}\n"
        f"[destination]\ntype = MDA_external\npath = {sys.executable}\n"
        f"arguments = ('-c', {program!r})\nallow_root_commands = true\nunixfrom = false\n"
        "[options]\ndelete = true\ndelivered_to = false\nreceived = false\n"
    )
    execute([client("getmail"), "--getmaildir", str(tmp_path), "--rcfile", str(config)], home=tmp_path)
    got = sorted(without_trace(one, MESSAGE) for one in from_maildir(tmp_path))
    assert got == sorted(sent)
    assert stored(account) == []


def test_mpop(account: Account, tmp_path: Path) -> None:
    sent = put_in(account)
    maildir = tmp_path / "mail"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    config = tmp_path / "mpoprc"
    config.write_text(
        f"account default\nhost localhost\nport {account.server.port('pop3')}\nuser {account.address}\n"
        f"password {account.password}\ntls on\ntls_starttls on\ntls_trust_file {account.certificate}\n"
        f"auth scram-sha-256\ndelivery maildir {maildir}\nkeep on\nreceived_header off\n"
        f"uidls_file {tmp_path}/uidls\npipelining on\n"
    )
    config.chmod(0o600)
    execute([client("mpop"), f"--file={config}"], home=tmp_path)
    got = sorted(without_trace(one, MESSAGE) for one in from_maildir(maildir))
    assert got == sorted(sent)
    execute([client("mpop"), f"--file={config}"], home=tmp_path)
    assert len(from_maildir(maildir)) == 3


def test_mbsync_both_ways_then_nothing_to_do(account: Account, tmp_path: Path) -> None:
    put_in(account)
    local = tmp_path / "mail"
    local.mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(
        f"IMAPAccount postroom\nHost localhost\nPort {account.server.port('imap')}\nUser {account.address}\n"
        f'Pass "{account.password}"\nSSLType STARTTLS\nCertificateFile {account.certificate}\nAuthMechs LOGIN\n\n'
        "IMAPStore far\nAccount postroom\n\n"
        f"MaildirStore near\nPath {local}/\nInbox {local}/INBOX\nSubFolders Verbatim\n\n"
        "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    )
    arguments = [client("mbsync"), "--config", str(config), "--all", "--verbose"]
    execute(arguments, home=tmp_path)
    assert len(from_maildir(local / "INBOX")) == 3
    assert {path.name for path in local.iterdir()} >= {"INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive"}

    # A new message and a flag here, a deletion there: all of it arrives.
    own = mailbox.Maildir(local / "Archive", create=False)
    own.add(MESSAGE.replace(b"\r\n", b"\n"))
    read = next(iter((local / "INBOX" / "new").iterdir()))
    read.rename(local / "INBOX" / "cur" / (read.name.split(":")[0] + ":2,FS"))
    execute(arguments, home=tmp_path)
    assert stored(account, "Archive") == [MESSAGE] or len(stored(account, "Archive")) == 1

    # Once more there is nothing to do: neither side changes by a single octet or flag.
    before = _both_sides(account, local)
    execute(arguments, home=tmp_path)
    assert _both_sides(account, local) == before


def _both_sides(account: Account, local: Path) -> tuple[list[str], bytes]:
    files = sorted(
        str(path.relative_to(local)) for path in local.rglob("*") if path.parent.name in ("cur", "new")
    )
    base = ["--silent", "--ssl-reqd", "--cacert", str(account.certificate)]
    url = f"imaps://localhost:{account.server.port('imaps')}/"
    far = b""
    for name in ("INBOX", "Archive"):
        far += execute(
            [client("curl"), *base, "--user", f"{account.address}:{account.password}", "--url", url,
             "--request", f"STATUS {name} (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ)"]
        ).stdout  # fmt: skip
    assert b"HIGHESTMODSEQ" in far
    return files, far


def test_offlineimap(account: Account, tmp_path: Path) -> None:
    put_in(account)
    config = tmp_path / "offlineimaprc"
    config.write_text(
        f"[general]\naccounts = a\nmetadata = {tmp_path}/meta\nui = basic\n"
        "[Account a]\nlocalrepository = near\nremoterepository = far\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {tmp_path}/mail\n"
        f"[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {account.server.port('imaps')}\n"
        f"remoteuser = {account.address}\nremotepass = {account.password}\nssl = yes\n"
        f"sslcacertfile = {account.certificate}\n"
    )
    arguments = [client("offlineimap"), "-c", str(config), "-o"]
    execute(arguments, home=tmp_path)
    assert len(from_maildir(tmp_path / "mail" / "INBOX")) == 3
    box = mailbox.Maildir(tmp_path / "mail" / "Drafts", create=False)
    box.add(MESSAGE.replace(b"\r\n", b"\n"))
    execute(arguments, home=tmp_path)
    assert len(stored(account, "Drafts")) == 1


def test_neomutt_copies_a_mailbox_in_batch_mode(account: Account, tmp_path: Path) -> None:
    """Opens INBOX over IMAPS, tags everything, copies it into another mailbox, saves one message to a file, leaves."""
    put_in(account)
    taken = tmp_path / "taken"
    config = tmp_path / "neomuttrc"
    config.write_text(
        f'set ssl_ca_certificates_file="{account.certificate}"\nset certificate_file="{tmp_path}/certs"\n'
        f'set imap_user="{account.address}"\nset imap_pass="{account.password}"\nset ssl_force_tls=yes\n'
        f'set folder="imaps://localhost:{account.server.port("imaps")}/"\nset spoolfile="+INBOX"\n'
        "set mbox_type=mbox\nset confirmappend=no\nset confirmcreate=no\nset move=no\nset sleep_time=0\n"
        f'set header_cache="{tmp_path}/cache"\nset message_cachedir="{tmp_path}/bodies"\nset delete=yes\n'
        'set imap_authenticators="plain"\n'
        f'push "<tag-pattern>~A<enter><tag-prefix><copy-message>+Archive<enter><untag-pattern>~A<enter>'
        f'<copy-message>{taken}<enter><quit>"\n'
    )
    _in_a_terminal([client("neomutt"), "-n", "-F", str(config)], tmp_path)
    assert len(stored(account, "Archive")) == 3
    assert b"Subject: Gr" in taken.read_bytes()


def test_neomutt_comes_back_with_qresync(account: Account, tmp_path: Path) -> None:
    """Opens INBOX, leaves; messages come and go; opens it again from its cache (RFC 7162 §3.2.6) and saves what is new."""
    put_in(account)
    config, log, taken = tmp_path / "neomuttrc", tmp_path / "log", tmp_path / "taken"
    common = (
        f'set ssl_ca_certificates_file="{account.certificate}"\nset certificate_file="{tmp_path}/certs"\n'
        f'set imap_user="{account.address}"\nset imap_pass="{account.password}"\nset ssl_force_tls=yes\n'
        f'set folder="imaps://localhost:{account.server.port("imaps")}/"\nset spoolfile="+INBOX"\n'
        "set mbox_type=mbox\nset confirmappend=no\nset confirmcreate=no\nset move=no\nset sleep_time=0\n"
        f'set header_cache="{tmp_path}/cache"\nset imap_qresync=yes\nset imap_condstore=yes\n'
        f'set imap_authenticators="plain"\nset debug_level=3\nset debug_file="{log}"\n'
    )
    config.write_text(common + 'push "<quit>"\n')
    arguments = [client("neomutt"), "-n", "-F", str(config)]
    _in_a_terminal(arguments, tmp_path)
    context = ssl.create_default_context(cafile=str(account.certificate))
    with imaplib.IMAP4_SSL("localhost", account.server.port("imaps"), ssl_context=context) as other:
        other.login(account.address, account.password)
        other.select("INBOX")
        other.store("1", "+FLAGS", r"(\Deleted)")
        other.expunge()
        other.append("INBOX", None, None, b"From: new@example.test\r\nSubject: brand new\r\n\r\nx\r\n")
    config.write_text(
        common + f'push "<tag-pattern>~A<enter><tag-prefix><copy-message>{taken}<enter><quit>"\n'
    )
    _in_a_terminal(arguments, tmp_path)
    saved = taken.read_bytes()
    assert saved.count(b"\nSubject:") == 3
    assert b"Subject: brand new" in saved
    said = b"".join(file.read_bytes() for file in tmp_path.glob("log*"))
    assert b"ENABLE QRESYNC" in said
    assert b" VANISHED)" in said
    assert b"Handling VANISHED" in said


def _in_a_terminal(arguments: list[str], home: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        arguments, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env={"HOME": str(home), "TERM": "xterm", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    end = time.monotonic() + 90
    try:
        while process.poll() is None and time.monotonic() < end:
            readable, _, _ = select.select([controller], [], [], 0.2)
            if readable:
                try:
                    shown += os.read(controller, 65536)
                except OSError:
                    break
        assert process.wait(10) == 0, shown[-2000:]
    finally:
        process.kill()
        process.wait()
        os.close(controller)
