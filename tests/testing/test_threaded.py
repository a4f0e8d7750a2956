"""The server in a thread, used as other programs' tests use it: with the standard library's clients."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path

import pytest

from postroom.app import AlreadyRunning
from postroom.model.errors import NoSuchMailbox, NoSuchRecipient, QuotaExceeded
from postroom.store.directory import EntryExists
from postroom.testing import Endpoint, ThreadedServer

ANN, SECRET = "ann@example.test", "secret"
HELLO = b"From: bob@elsewhere.test\r\nTo: ann@example.test\r\nSubject: hello\r\n\r\nHow are you?\r\n"


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadedServer]:
    with ThreadedServer() as server:
        yield server


@pytest.fixture
def server(running: ThreadedServer) -> Iterator[ThreadedServer]:
    running.add_account(ANN, SECRET)
    yield running
    running.reset()


def send(server: ThreadedServer, *recipients: str, message: bytes = HELLO) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP(*server.smtp) as client:
        return client.sendmail("bob@elsewhere.test", recipients, message)


def submit(server: ThreadedServer, *recipients: str, subject: str = "out") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ANN, ", ".join(recipients), subject
    message.set_content("Good morning\n")
    with smtplib.SMTP(*server.submission) as client:
        client.login(ANN, SECRET)
        client.send_message(message)


def test_smtp_in_and_every_way_out(server: ThreadedServer) -> None:
    assert send(server, ANN) == {}

    (stored,) = server.messages(ANN)
    assert stored.octets.endswith(HELLO)
    assert (stored.sender, stored.recipients, stored.flags) == ("bob@elsewhere.test", (ANN,), frozenset())
    assert (stored.subject, stored.text.strip()) == ("hello", "How are you?")
    assert stored.email["to"] == ANN
    assert abs(stored.received.timestamp() - time.time()) < 3600

    pop3 = poplib.POP3(*server.pop3)
    pop3.user(ANN)
    pop3.pass_(SECRET)
    assert b"\r\n".join(pop3.retr(1)[1]) + b"\r\n" == stored.octets
    pop3.quit()

    with imaplib.IMAP4(*server.imap) as imap:
        imap.login(ANN, SECRET)
        imap.select()
        _, parts = imap.fetch("1", "(BODY[])")
        assert isinstance(parts[0], tuple)
        assert parts[0][1] == stored.octets
        imap.store("1", "+FLAGS", r"(\Flagged $Work)")
    assert server.messages(ANN)[0].flags == {r"\Seen", r"\Flagged", "$Work"}


def test_lmtp_answers_for_each(server: ThreadedServer) -> None:
    with smtplib.LMTP(*server.lmtp) as client:
        refused = client.sendmail("bob@elsewhere.test", [ANN, "nobody@example.test"], HELLO)
    assert refused["nobody@example.test"][0] == 550
    assert len(server.messages(ANN)) == 1


def test_mail_for_elsewhere_is_captured(server: ThreadedServer) -> None:
    assert server.outbox == []
    submit(server, "eve@foreign.test", "joe@other.test", ANN)
    (out,) = server.outbox
    assert out.sender == ANN
    assert sorted(out.recipients) == ["eve@foreign.test", "joe@other.test"]
    assert out.subject == "out"
    assert not out.octets.startswith(b"Return-Path:")
    assert server.messages(ANN)[0].subject == "out"

    submit(server, "eve@foreign.test", subject="second")
    assert [each.subject for each in server.outbox] == ["out", "second"]
    assert server.wait_for_outgoing(where=lambda each: each.subject == "second").recipients == (
        "eve@foreign.test",
    )
    server.clear_outbox()
    assert server.outbox == []


def test_it_is_no_open_relay(server: ThreadedServer) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(server, "eve@foreign.test")
    assert refused.value.recipients["eve@foreign.test"][0] == 550
    with smtplib.SMTP(*server.submission) as client, pytest.raises(smtplib.SMTPSenderRefused):
        client.sendmail(ANN, ["eve@foreign.test"], HELLO)
    assert server.outbox == []


def test_a_wrong_password_is_wrong_and_many_are_no_trouble(server: ThreadedServer) -> None:
    for _ in range(30):
        with smtplib.SMTP(*server.submission) as client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(ANN, "wrong")
    with imaplib.IMAP4(*server.imap) as imap:
        imap.login(ANN, SECRET)


@pytest.mark.parametrize("password", ["x", "correct horse battery"])
def test_scram_works_for_any_password(server: ThreadedServer, password: str) -> None:
    server.add_account("scram@example.test", password)
    with imaplib.IMAP4(*server.imap) as imap:
        from postroom.wire.sasl.registry import BY_NAME

        mechanism = BY_NAME["SCRAM-SHA-256"].client("scram@example.test", password, {})
        steps = iter([lambda _challenge: mechanism.initial(), mechanism.step, mechanism.step])
        imap.authenticate("SCRAM-SHA-256", lambda challenge: next(steps)(challenge) or b"")
        assert mechanism.complete


def test_deliver_puts_a_message_where_it_is_wanted(server: ThreadedServer) -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content("Schön\n")
    server.add_alias("all@example.test", ANN)
    server.deliver(ANN, b"Subject: octets\n\nbare\n")
    server.deliver(ANN, "Subject: text\n\nlines\n", sender="bob@elsewhere.test", flags=[r"\seen", "$Work"])
    server.deliver("all@example.test", message, mailbox="Lists/all")
    octets, text = server.messages(ANN)
    assert octets.octets == b"Subject: octets\n\nbare\n"
    assert text.octets == b"Subject: text\r\n\r\nlines\r\n"
    assert (text.sender, text.flags) == ("bob@elsewhere.test", frozenset({r"\Seen", "$Work"}))
    (listed,) = server.messages(ANN, "Lists/all")
    assert (listed.subject, listed.text, listed.recipients) == ("Grüße", "Schön\n", ("all@example.test",))
    assert "Lists/all" in server.mailboxes(ANN)


def test_whoever_idles_is_told_of_a_delivery(server: ThreadedServer) -> None:
    with socket.create_connection(server.imap, timeout=30) as client, client.makefile("rb") as lines:
        client.sendall(f"a LOGIN {ANN} {SECRET}\r\n".encode())
        while not lines.readline().startswith(b"a OK"):
            pass
        client.sendall(b"b SELECT INBOX\r\n")
        while not lines.readline().startswith(b"b OK"):
            pass
        client.sendall(b"c IDLE\r\n")
        assert lines.readline().startswith(b"+ ")
        server.deliver(ANN, HELLO)
        assert lines.readline() == b"* 1 EXISTS\r\n"


def test_mistakes_are_told(server: ThreadedServer) -> None:
    with pytest.raises(NoSuchRecipient):
        server.messages("nobody@example.test")
    with pytest.raises(NoSuchRecipient):
        server.deliver("nobody@example.test", HELLO)
    with pytest.raises(NoSuchMailbox):
        server.messages(ANN, "Nowhere")
    with pytest.raises(EntryExists):
        server.add_account(ANN, "another password")
    with pytest.raises(EntryExists):
        server.add_account(ANN, "short")
    with pytest.raises(ValueError, match="no flag"):
        server.deliver(ANN, HELLO, flags=[r"\Recent"])
    with pytest.raises(LookupError, match="imaps is not served"):
        _ = server.imaps
    with pytest.raises(LookupError):
        server.client_context()
    server.add_account("full@example.test", SECRET, quota=10)
    with pytest.raises(QuotaExceeded):
        server.deliver("full@example.test", HELLO)


def test_waiting_for_a_message_that_comes_later(server: ThreadedServer) -> None:
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(server.wait_for_message, ANN, where=lambda each: each.subject == "hello")
        send(server, ANN, message=b"Subject: something else\r\n\r\n")
        send(server, ANN)
        assert found.result(30).octets.endswith(HELLO)
    assert server.wait_for_message(ANN).subject == "something else"


def test_waiting_in_vain_tells_what_there_is(server: ThreadedServer) -> None:
    send(server, ANN)
    with pytest.raises(TimeoutError, match=f"INBOX of {ANN} within 0.01 s; there is 'hello'"):
        server.wait_for_message(ANN, timeout=0.01, where=lambda each: each.subject == "other")
    with pytest.raises(TimeoutError, match=r"Drafts/new .* there is nothing"):
        server.wait_for_message(ANN, timeout=0, mailbox="Drafts/new")
    with pytest.raises(TimeoutError, match="there is nothing"):
        server.wait_for_outgoing(timeout=0.01)


def test_a_refused_recipient(server: ThreadedServer) -> None:
    server.add_account("bob@example.test", SECRET)
    server.refuse("ann@EXAMPLE.test", 452, "4.2.2 Mailbox full")
    assert send(server, ANN, "bob@example.test") == {ANN: (452, b"4.2.2 Mailbox full")}
    server.refuse("Eve@foreign.test")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        submit(server, "eve@foreign.test")
    assert refused.value.recipients == {"eve@foreign.test": (550, b"5.1.1 No such recipient")}
    server.accept(ANN)
    assert send(server, ANN) == {}
    assert (len(server.messages(ANN)), len(server.messages("bob@example.test"))) == (1, 1)


def test_a_refusal_with_421_ends_the_session(server: ThreadedServer) -> None:
    server.refuse(ANN, 421, "Going down")
    with smtplib.SMTP(*server.smtp) as client:
        client.ehlo()
        client.mail("bob@elsewhere.test")
        assert client.rcpt(ANN) == (421, b"Going down")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize(
    ("code", "text"), [(250, "fine"), (600, "beyond"), (550, "two\nlines"), (550, "4.0.0 mixed"), (550, "ö")]
)
def test_a_refusal_must_be_one(server: ThreadedServer, code: int, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        server.refuse(ANN, code, text)


def test_a_slow_server(server: ThreadedServer) -> None:
    server.delay(3600)
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        smtplib.SMTP(*server.smtp, timeout=0.05)
    with socket.create_connection(server.smtp, timeout=30) as waiting:
        server.delay(0)
        assert waiting.recv(1000).startswith(b"220 ")
    server.delay(0.01)
    send(server, ANN)
    for seconds in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="delay"):
            server.delay(seconds)


def test_dropped_connections(server: ThreadedServer) -> None:
    with smtplib.SMTP(*server.smtp) as client:
        client.ehlo()
        server.drop_connections()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()
    send(server, ANN)


def test_catch_all_takes_the_rest(server: ThreadedServer) -> None:
    server.add_domain("anything.test", catch_all=ANN)
    send(server, "whoever@anything.test")
    assert server.messages(ANN)[0].recipients == ("whoever@anything.test",)


def test_reset_leaves_nothing(server: ThreadedServer) -> None:
    ports = server.ports
    server.add_alias("all@example.test", ANN, "eve@foreign.test")
    server.add_domain("anything.test", catch_all=ANN)
    server.refuse("bob@example.test")
    server.delay(0.001)
    send(server, ANN)
    submit(server, "eve@foreign.test")
    with socket.create_connection(server.imap, timeout=30) as open_one:
        assert open_one.recv(1000).startswith(b"* OK")
        server.reset()
        try:
            assert open_one.recv(1000) == b""
        except ConnectionResetError:
            pass
    assert server.outbox == []
    with pytest.raises(NoSuchRecipient):
        server.messages(ANN)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(server, "whoever@anything.test")
    server.add_account("bob@example.test", SECRET)
    server.add_account(ANN, "another")
    send(server, ANN, "bob@example.test")
    assert len(server.messages(ANN)) == 1
    assert server.ports == ports
    with imaplib.IMAP4(*server.imap) as imap, pytest.raises(imaplib.IMAP4.error):
        imap.login(ANN, SECRET)


def test_two_servers_know_nothing_of_each_other(server: ThreadedServer) -> None:
    with ThreadedServer() as other:
        assert not set(other.ports.values()) & set(server.ports.values())
        other.add_account(ANN, "another password")
        send(other, ANN)
        assert len(other.messages(ANN)) == 1
        assert server.messages(ANN) == []
    send(server, ANN)
    assert len(server.messages(ANN)) == 1


def test_many_clients_at_once(server: ThreadedServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        for refused in pool.map(lambda _: send(server, ANN), range(64)):
            assert refused == {}
    uids = [each.uid for each in server.messages(ANN)]
    assert uids == list(range(1, 65))


def test_tls(tmp_path: Path) -> None:
    with ThreadedServer(tls=True, hostname="mail.example.test") as server:
        server.add_account(ANN, SECRET)
        trusting = server.client_context()
        assert server.certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
        with smtplib.SMTP(*server.smtp) as client:
            client.starttls(context=trusting)
            client.sendmail("bob@elsewhere.test", [ANN], HELLO)
        with smtplib.SMTP_SSL(*server.submissions, context=trusting) as client:
            client.login(ANN, SECRET)
        with imaplib.IMAP4_SSL(*server.imaps, ssl_context=trusting) as imap:
            imap.login(ANN, SECRET)
            assert imap.select() == ("OK", [b"1"])
        pop3 = poplib.POP3(*server.pop3)
        pop3.stls(trusting)
        pop3.user(ANN)
        pop3.pass_(SECRET)
        assert pop3.stat()[0] == 1
        pop3.quit()
        with pytest.raises(ssl.SSLCertVerificationError), smtplib.SMTP(*server.smtp) as client:
            client.starttls(context=ssl.create_default_context())
        with ThreadedServer(tls=True) as other, pytest.raises(ssl.SSLCertVerificationError):
            poplib.POP3_SSL(*other.pop3s, context=trusting)


def test_mail_in_a_directory_is_there_again(tmp_path: Path) -> None:
    large = HELLO + b"x" * 70 + b"\r\n" * 100_000
    with ThreadedServer(directory=tmp_path) as server:
        server.add_account(ANN, SECRET)
        send(server, ANN)
        server.deliver(ANN, large)
        submit(server, "eve@foreign.test")
    with ThreadedServer(directory=tmp_path) as server:
        assert [each.octets[-len(large) :] for each in server.messages(ANN)][1] == large
        assert server.wait_for_message(ANN).octets.endswith(HELLO)
        assert server.outbox[0].recipients == ("eve@foreign.test",)
        send(server, ANN)
        assert len(server.messages(ANN)) == 3
        server.reset()
        assert server.outbox == []
        with pytest.raises(NoSuchRecipient):
            server.messages(ANN)


def test_after_stop_nothing_is_left() -> None:
    before = set(threading.enumerate())
    server = ThreadedServer(tls=True).start()
    server.add_account(ANN, SECRET)
    folder = server.certificate.parent
    endpoints = [Endpoint("127.0.0.1", port) for port in server.ports.values()]
    assert len(endpoints) == 8
    idle = socket.create_connection(server.imap, timeout=30)
    assert idle.recv(1000).startswith(b"* OK")
    server.delay(3600)
    delayed = socket.create_connection(server.smtp, timeout=30)
    with idle, delayed:
        server.stop()
        server.stop()
        assert idle.recv(1000).startswith(b"* BYE")
    assert set(threading.enumerate()) == before
    assert not folder.exists()
    assert server.ports == {}
    for endpoint in endpoints:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(endpoint)
    with pytest.raises(RuntimeError, match="does not run"):
        server.messages(ANN)
    with server:
        assert server.outbox == []
        with pytest.raises(RuntimeError, match="runs already"):
            server.start()
    assert set(threading.enumerate()) == before


def test_a_directory_has_one_server_at_a_time(tmp_path: Path) -> None:
    with ThreadedServer(directory=tmp_path):
        second = ThreadedServer(directory=tmp_path)
        with pytest.raises(AlreadyRunning):
            second.start()
    with second:
        assert second.outbox == []


def test_what_goes_wrong_in_the_thread_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    server = ThreadedServer().start()

    async def fails() -> None:
        raise OSError("no disk")

    monkeypatch.setattr(server._server._store, "close", fails)
    with pytest.raises(OSError, match="no disk"):
        server.stop()
    server.stop()
    assert set(threading.enumerate()) == before
    with server:
        assert server.outbox == []


def test_a_call_from_the_wrong_thread_does_not_hang(server: ThreadedServer) -> None:
    send(server, ANN)
    with pytest.raises(RuntimeError, match="own thread"):
        server.wait_for_message(ANN, where=lambda _message: bool(server.outbox))


def test_a_failed_start_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    (tmp_path / "directory.sqlite").write_bytes(b"not a database, and long enough to be sure of it" * 100)
    server = ThreadedServer(directory=tmp_path)
    for _ in range(2):
        with pytest.raises(Exception, match="directory"):
            server.start()
    assert set(threading.enumerate()) == before


def test_the_package_has_the_names_it_promises() -> None:
    import postroom.testing as package

    assert {getattr(package, name).__name__ for name in package.__all__} == set(package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(package, "Nothing")  # noqa: B009 - mypy refuses the plain spelling, as it should
