"""The real messages go in over SMTP, LMTP and APPEND and come out by POP3, IMAP and export, octet for octet.

Messages with NUL octets or bare CR or LF cannot travel by DATA (RFC 5321 §2.3.8): they take BDAT with BINARYMIME (RFC 3030) where
SMTP can carry them at all.
"""

from __future__ import annotations

import hashlib
import imaplib
import poplib
import re
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import imapclient
import pytest

from postroom.mime.facts import Part
from postroom.mime.scanner import scan
from postroom.mime.structure import section_range
from tests.corpus import messages
from tests.e2e.conftest import Account, client, execute, new_account
from tests.support.live import LiveServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

CORPUS: Final = messages()
_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


def _context(account: Account) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(account.certificate))


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def _plain(octets: bytes) -> bool:
    """Whether DATA can carry it: CRLF line ends only, ended by one, no NUL."""
    return octets.endswith(b"\r\n") and _BARE.search(octets) is None


def _deliver(account: Account, kind: type[smtplib.SMTP], port: str) -> list[bytes]:
    """Send the corpus; returns the messages that were sent, in order. Each must be taken."""
    sent = []
    with kind("localhost", account.server.port(port)) as server:
        server.ehlo("client.example.test") if kind is smtplib.SMTP else server.ehlo()
        for name, octets in CORPUS:
            if not octets:
                continue
            if _plain(octets):
                _data(server, account, octets, name)
            else:
                _bdat(server, account, octets, name)
            sent.append(octets)
    return sent


def _envelope(server: smtplib.SMTP, account: Account, body: str, name: str) -> None:
    code, text = server.docmd(f"MAIL FROM:<someone@elsewhere.test> BODY={body}")
    assert code == 250, (name, text)
    code, text = server.docmd(f"RCPT TO:<{account.address}>")
    assert code == 250, (name, text)


def _data(server: smtplib.SMTP, account: Account, octets: bytes, name: str) -> None:
    _envelope(server, account, "8BITMIME", name)
    assert server.docmd("DATA")[0] == 354
    stuffed = re.sub(rb"(?m)^\.", b"..", octets)
    server.send(stuffed + b".\r\n")
    code, text = server.getreply()
    assert code == 250, (name, text)


def _bdat(server: smtplib.SMTP, account: Account, octets: bytes, name: str) -> None:
    _envelope(server, account, "BINARYMIME", name)
    half = len(octets) // 2
    server.send(b"BDAT %d\r\n" % half + octets[:half])
    assert server.getreply()[0] == 250
    server.send(b"BDAT %d LAST\r\n" % (len(octets) - half) + octets[half:])
    code, text = server.getreply()
    assert code == 250, (name, text)


def _own(stored: bytes, originals: set[str]) -> str:
    """The digest of a stored message behind the trace fields that were put in front of it."""
    assert stored.startswith(b"Return-Path: <someone@elsewhere.test>\r\nReceived: from ")
    at = stored.index(b"\r\n", stored.index(b"Received: "))
    while stored[at + 2 : at + 3] in (b"\t", b" "):
        at = stored.index(b"\r\n", at + 2)
    found = _digest(stored[at + 2 :])
    if found not in originals:
        # A corpus message may begin with a folded line of its own: then the border is found from the other side.
        for size in {len(octets) for _, octets in CORPUS}:
            if size <= len(stored) and _digest(stored[-size:] if size else b"") in originals:
                return _digest(stored[-size:])
    return found


def _fetch(account: Account, mailbox: str, items: str, step: int = 200) -> Iterator[tuple[bytes, bytes]]:
    box = imaplib.IMAP4_SSL(
        "localhost", account.server.port("imaps"), ssl_context=_context(account), timeout=120
    )
    try:
        box.login(account.address, account.password)
        _, (count,) = box.select(mailbox, readonly=True)
        assert count is not None
        for first in range(1, int(count) + 1, step):
            _, answer = box.fetch(f"{first}:{min(int(count), first + step - 1)}", items)
            for item in answer:
                if isinstance(item, tuple):
                    yield item[0], item[1]
    finally:
        box.logout()


@pytest.fixture(scope="module", params=["smtp", "lmtp"])
def filled(mail_server: LiveServer, request: pytest.FixtureRequest) -> tuple[Account, list[bytes]]:
    account = new_account(mail_server)
    kind = smtplib.LMTP if request.param == "lmtp" else smtplib.SMTP
    return account, _deliver(account, kind, request.param)


def test_imap_gives_back_every_octet_and_size(filled: tuple[Account, list[bytes]]) -> None:
    account, sent = filled
    originals = {_digest(octets) for octets in sent}
    found = []
    for head, octets in _fetch(account, "INBOX", "(UID RFC822.SIZE BODY.PEEK[])"):
        assert b"RFC822.SIZE %d " % len(octets) in head
        found.append(_own(octets, originals))
    assert sorted(found) == sorted(_digest(octets) for octets in sent)


def test_pop3_gives_back_every_octet_and_size(filled: tuple[Account, list[bytes]]) -> None:
    account, sent = filled
    originals = {_digest(octets) for octets in sent}
    box = poplib.POP3_SSL("localhost", account.server.port("pop3s"), context=_context(account), timeout=120)
    poplib._MAXLINE = 10_000_000  # type: ignore[attr-defined]  # the corpus has lines longer than poplib takes
    box.user(account.address)
    box.pass_(account.password)
    sizes = {int(line.split()[0]): int(line.split()[1]) for line in box.list()[1]}
    assert len(sizes) == len(sent)
    ends_with_crlf = 0
    for number, octets in enumerate(sent, 1):
        if not _plain(octets):
            continue
        got = b"".join(line + b"\r\n" for line in box.retr(number)[1])
        assert len(got) == sizes[number]
        assert _own(got, originals) == _digest(octets)
        ends_with_crlf += 1
    assert ends_with_crlf
    box.quit()


def test_export_gives_back_every_octet(filled: tuple[Account, list[bytes]], tmp_path: Path) -> None:
    account, sent = filled
    originals = {_digest(octets) for octets in sent}
    account.server.run("export", account.address, str(tmp_path / "out"), "--format", "eml")
    files = sorted((tmp_path / "out").rglob("*.eml"))
    assert sorted(_own(path.read_bytes(), originals) for path in files) == sorted(
        _digest(octets) for octets in sent
    )


def _leaves(part: Part, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The section numbers of every part (RFC 3501 §6.4.5)."""
    stack: list[tuple[Part, tuple[int, ...], bool]] = [(part, path, True)]
    while stack:
        one, at, is_message = stack.pop()
        if one.type == "multipart":
            stack += [(child, (*at, number), False) for number, child in enumerate(one.children, 1)]
        elif is_message:
            yield (*at, 1)
        else:
            yield at
            if one.children:
                stack.append((one.children[0], at, True))


def test_every_message_has_envelope_and_structure_that_clients_accept(mail_server: LiveServer) -> None:
    account = new_account(mail_server)
    put = [octets for _, octets in CORPUS if octets]
    with imapclient.IMAPClient(
        "localhost", account.server.port("imaps"), ssl_context=_context(account), timeout=120
    ) as box:
        box.login(account.address, account.password)
        for first in range(0, len(put), 100):
            box.multiappend("Archive", put[first : first + 100])
        box.select_folder("Archive")
        uids = box.search()
        assert len(uids) == len(put)
        for first in range(0, len(uids), 200):
            data = box.fetch(uids[first : first + 200], ["ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822.SIZE"])
            for uid in uids[first : first + 200]:
                assert data[uid][b"ENVELOPE"] is not None
                assert data[uid][b"BODYSTRUCTURE"] is not None
                assert data[uid][b"RFC822.SIZE"] == len(put[uid - 1])
        _check_parts(box, uids, put)
    for head, _ in _fetch(account, "Archive", "(ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
        assert b"ENVELOPE (" in head
    # curl takes at most 300 KiB of untagged lines for one command, hence the small steps.
    shown = 0
    for first in range(1, len(put) + 1, 25):
        answer = execute(
            [
                client("curl"), "--silent", "--show-error", "--ssl-reqd", "--cacert", str(account.certificate),
                "--user", f"{account.address}:{account.password}",
                "--url", f"imaps://localhost:{account.server.port('imaps')}/Archive",
                "--request", f"FETCH {first}:{min(first + 24, len(put))} (ENVELOPE BODYSTRUCTURE)",
            ]
        ).stdout  # fmt: skip
        shown += answer.count(b" FETCH (ENVELOPE (")
    assert shown == len(put)


def _check_parts(box: Any, uids: list[int], put: list[bytes]) -> None:
    """BODY[part] of every part equals the octets at its offsets."""
    checked = 0
    for uid, octets in zip(uids, put, strict=True):
        root = scan(octets).root
        paths = list(_leaves(root))[:30]
        names = [".".join(map(str, path)) for path in paths]
        data = box.fetch([uid], [f"BODY.PEEK[{name}]" for name in names])[uid]
        for name, path in zip(names, paths, strict=True):
            found = section_range(root, path, "")
            assert found is not None
            assert data[b"BODY[%b]" % name.encode()] == octets[found[0] : found[1]], (uid, name)
            checked += 1
    assert checked >= len(put)
