"""smtplib, poplib, imaplib, imapclient and aioimaplib: the clients that Python developers have at hand."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import ssl

import aioimaplib
import imapclient
import pytest

from tests.e2e.conftest import MESSAGE, Account, new_account, without_trace
from tests.e2e.test_reading_clients import put_in
from tests.e2e.test_sending_clients import stored

pytestmark = pytest.mark.e2e


def _context(account: Account) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(account.certificate))


def test_smtplib(account: Account) -> None:
    other = new_account(account.server)
    message = MESSAGE.replace(b"anna@example.test", account.address.encode())
    with smtplib.SMTP("localhost", account.server.port("submission")) as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features
        with pytest.raises(smtplib.SMTPNotSupportedError):
            smtp.login(account.address, account.password)
        smtp.starttls(context=_context(account))
        smtp.login(account.address, account.password)
        assert smtp.sendmail(account.address, [other.address], message, ["BODY=8BITMIME"]) == {}
        with pytest.raises(smtplib.SMTPResponseException):
            smtp.sendmail("somebody-else@example.test", [other.address], message)
    assert [without_trace(one, message) for one in stored(other)] == [message]


def test_smtplib_is_no_open_relay(account: Account) -> None:
    with (
        smtplib.SMTP("localhost", account.server.port("smtp")) as smtp,
        pytest.raises(smtplib.SMTPRecipientsRefused) as refused,
    ):
        smtp.sendmail("someone@elsewhere.test", ["victim@foreign.test"], MESSAGE)
    assert refused.value.recipients["victim@foreign.test"][0] == 550


def test_poplib(account: Account) -> None:
    sent = put_in(account)
    box = poplib.POP3("localhost", account.server.port("pop3"), timeout=60)
    assert "STLS" in box.capa()
    with pytest.raises(poplib.error_proto):
        box.user(account.address)
    box.quit()
    box = poplib.POP3_SSL("localhost", account.server.port("pop3s"), context=_context(account), timeout=60)
    box.user(account.address)
    box.pass_(account.password)
    count, size = box.stat()
    assert count == 3
    sizes = [int(line.split()[1]) for line in box.list()[1]]
    assert sum(sizes) == size
    got = b"".join(line + b"\r\n" for line in box.retr(1)[1])
    assert len(got) == sizes[0]
    assert without_trace(got, sent[0]) == sent[0]
    assert len({line.split()[1] for line in box.uidl()[1]}) == 3
    box.dele(2)
    box.quit()
    assert len(stored(account)) == 2


def test_imaplib(account: Account) -> None:
    box = imaplib.IMAP4("localhost", account.server.port("imap"), timeout=60)
    assert "LOGINDISABLED" in box.capabilities
    box.starttls(_context(account))
    box.login(account.address, account.password)
    assert box.append("Drafts", "(\\Draft)", '"23-Nov-2026 10:00:00 +0100"', MESSAGE)[0] == "OK"
    box.select("Drafts")
    _, answer = box.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
    first = answer[0]
    assert isinstance(first, tuple)
    assert first[1] == MESSAGE
    assert b'INTERNALDATE "23-Nov-2026 10:00:00 +0100"' in first[0]
    assert b"RFC822.SIZE %d" % len(MESSAGE) in first[0]
    assert box.store("1", "+FLAGS", "(\\Seen $Work)")[0] == "OK"
    assert box.search(None, "KEYWORD", "$Work")[1] == [b"1"]
    assert box.copy("1", "Archive")[0] == "OK"
    box.store("1", "+FLAGS", "\\Deleted")
    assert box.expunge()[1] == [b"1"]
    assert stored(account, "Archive") == [MESSAGE]
    box.logout()


def test_imapclient(account: Account) -> None:
    put_in(account, 5)
    with imapclient.IMAPClient(
        "localhost", account.server.port("imaps"), ssl_context=_context(account)
    ) as box:
        box.login(account.address, account.password)
        assert box.select_folder("INBOX")[b"EXISTS"] == 5
        fetched = box.fetch(
            box.search(), ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE"]
        )
        assert {data[b"ENVELOPE"].message_id for data in fetched.values()} == {
            b"<%d@example.test>" % number for number in range(5)
        }
        assert box.search(["SUBJECT", "Gr", "UNSEEN"]) == sorted(fetched)
        assert box.find_special_folder(b"\\Sent") == "Sent"
        box.create_folder("Projekte/Grün")
        box.move([min(fetched)], "Projekte/Grün")
        assert box.folder_status("Projekte/Grün", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 1, b"UNSEEN": 1}
        assert ((b"\\HasChildren",), b"/", "Projekte") in box.list_folders(pattern="Proj%")
        box.idle()
        put_in(account, 1)
        assert (5, b"EXISTS") in box.idle_check(timeout=30)
        box.idle_done()


async def test_aioimaplib(account: Account) -> None:
    put_in(account)
    box = aioimaplib.IMAP4_SSL("localhost", account.server.port("imaps"), ssl_context=_context(account))
    await box.wait_hello_from_server()
    assert (await box.login(account.address, account.password)).result == "OK"
    assert (await box.select("INBOX")).result == "OK"
    response = await box.fetch("1:3", "(UID RFC822.SIZE FLAGS)")
    assert response.result == "OK"
    assert sum(b"FETCH (UID" in line or b"FETCH (" in line for line in response.lines) == 3
    assert (await box.uid_search("ALL")).lines[0] == b"1 2 3"
    await box.logout()
