"""An app password for IMAP opens IMAP, nothing else, and nothing once it is revoked."""

from __future__ import annotations

import imaplib
import json
import poplib
import smtplib
import ssl

import pytest

from tests.e2e.conftest import Account

pytestmark = pytest.mark.e2e


def test_it_opens_imap_alone(account: Account) -> None:
    server, context = account.server, ssl.create_default_context(cafile=str(account.certificate))
    made = server.run(
        "account", "app-password", "add", account.address, "telephone", "--protocol", "imap", "--json"
    )
    password = json.loads(made.stdout)["password"]

    def imap() -> None:
        with imaplib.IMAP4_SSL("localhost", server.port("imaps"), ssl_context=context) as box:
            box.login(account.address, password)
            assert box.select("INBOX")[0] == "OK"

    imap()
    pop = poplib.POP3_SSL("localhost", server.port("pop3s"), context=context)
    pop.user(account.address)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\] Authentication failed"):
        pop.pass_(password)
    pop.close()
    with smtplib.SMTP_SSL("localhost", server.port("submissions"), context=context) as smtp:
        smtp.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login(account.address, password)
    server.run("account", "app-password", "revoke", account.address, "telephone")
    with pytest.raises(imaplib.IMAP4.error, match="Authentication failed"):
        imap()
