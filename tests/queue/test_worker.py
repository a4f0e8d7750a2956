"""The queue against our own submission server, and against servers that misbehave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.mime.scanner import scan
from postroom.model.errors import Unavailable
from postroom.model.ids import QueueId
from postroom.model.message import BlobRef
from postroom.queue.routes import Routes, Security, Smarthost
from postroom.queue.worker import AttemptRecord, Queue, QueueService
from postroom.store.api import Batch, QueuedMessage, QueuedRecipient
from postroom.store.directory import Directory
from tests.queue.smarthost import PLAIN_HOST, ListDialer, ScriptedConnection, ServerConnection
from tests.session.smtp.stores import FaultyStore, as_store
from tests.transcripts.harness import Case, FakeClock, FakeTransport
from tests.transcripts.smtp_scene import PASSWORD, SmtpScene, behind_trace, make_directory

OURS = b"Return-Path: <alice@example.com>\r\n"
CONTENT = b"From: alice@example.com\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <a@b>\r\n\r\n.dots\r\n..\r\n"
HELLO = b"220 smart ESMTP\r\n"
PLAIN_EHLO = b"250 smart\r\n"
RICH_EHLO = b"250-smart\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 BINARYMIME\r\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    made.add_sender("alice@example.org", "alice@example.com")
    yield made
    made.close()


class Bench:
    """A queue with one message, a clock, and whatever server the test wants."""

    def __init__(self, directory: Directory, smarthost: Smarthost | None, *connections: Any) -> None:
        self.store = FaultyStore()
        self.now = 1_000_000
        self.dialer = ListDialer(*connections)
        self.records: list[AttemptRecord] = []
        self.bugs: list[Exception] = []
        self.queue = Queue(
            QueueService(
                store=as_store(self.store),
                directory=directory,
                routes=Routes(smarthost, directory.is_local_domain),
                dialer=self.dialer,
                hostname="mx.example.org",
                clock=lambda: self.now,
                token=lambda: "t0ken",
                record=self.records.append,
                bug=self.bugs.append,
            )
        )

    async def prepare(self, directory: Directory) -> Bench:
        """Make the accounts' rows."""
        for account in directory.accounts():
            await self.store.create_account(account.id)
        return self

    async def add(
        self,
        *recipients: str,
        sender: str = "alice@example.com",
        content: bytes = OURS + CONTENT,
        **more: Any,
    ) -> None:
        blob = BlobRef("inline", "", len(content), hashlib.sha256(content).digest(), content)
        waiting = [QueuedRecipient(each) for each in recipients]
        queued = QueuedMessage(QueueId(0), sender, blob, waiting, self.now, **more)
        await self.store.deliver(Batch(queued=[queued]))

    def states(self) -> dict[str, str]:
        return {each.recipient: each.result.verdict.value for each in self.records}


async def real_server(directory: Directory, tmp: Path, *needs: str) -> tuple[SmtpScene, ServerConnection]:
    """A submission server in process; ``needs`` as in transcripts."""
    clock = FakeClock()
    case = Case(tmp / "submission" / "x.txt", {"needs": [*needs, "route"]}, [])
    scene = SmtpScene(case, directory, clock)
    await scene.prepare()
    transport = FakeTransport(1, clock)
    transport.start(*scene.open(transport))
    return scene, ServerConnection(transport)


@pytest.mark.parametrize("needs", ["tls", "starttls"])
async def test_a_message_reaches_a_real_server_byte_for_byte(
    directory: Directory, tmp_path: Path, needs: str
) -> None:
    scene, connection = await real_server(directory, tmp_path, needs)
    security = Security.IMPLICIT if needs == "tls" else Security.STARTTLS
    host = Smarthost("smart.example.net", 587, security, "alice@example.org", PASSWORD)
    bench = await Bench(directory, host, connection).prepare(directory)
    await bench.add("bob@example.org".replace("org", "net"), "far@example.net")
    await bench.add("third@example.net")
    assert await bench.queue.run_due() == 2
    assert bench.store.queue == {}
    assert bench.dialer.dialled == 1, "both messages on one connection"
    assert set(bench.states().values()) == {"delivered"}
    sent = list(scene.store.queue.values())
    assert [[each.address for each in message.recipients] for message in sent] == [
        ["bob@example.net", "far@example.net"],
        ["third@example.net"],
    ]
    for message in sent:
        assert behind_trace(scene.store.queued_octets(message))[1] == CONTENT
    assert connection.sent.endswith(b"QUIT\r\n")
    assert PASSWORD.encode() not in connection.sent


async def test_a_wrong_password_keeps_the_message(directory: Directory, tmp_path: Path) -> None:
    _, connection = await real_server(directory, tmp_path, "tls")
    host = Smarthost("smart.example.net", 465, Security.IMPLICIT, "alice@example.org", "wrong password")
    bench = await Bench(directory, host, connection).prepare(directory)
    await bench.add("far@example.net")
    await bench.queue.run_due()
    assert bench.states() == {"far@example.net": "deferred"}
    assert bench.store.queue[QueueId(1)].recipients[0].next_attempt > bench.now
    assert b"MAIL" not in connection.sent


async def scripted(
    directory: Directory, *script: bytes | Exception, host: Smarthost = PLAIN_HOST
) -> tuple[Bench, ScriptedConnection]:
    connection = ScriptedConnection(list(script))
    return await Bench(directory, host, connection).prepare(directory), connection


@pytest.mark.parametrize(
    "script",
    [
        [b"554 go away\r\n"],
        [HELLO, b"500 what\r\n", b"500 what\r\n"],
        [HELLO + b"250 unasked\r\n"],
        [b"220\r\n", b""],
        [HELLO, b"x" * 5000],
        [HELLO, b"250-a\r\n" * 500],
        [HELLO, b"250-a\r\n251 b\r\n"],
        [HELLO, Unavailable(private="time-out")],
        [HELLO, b"421 4.3.2 closing\r\n"],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"354 what\r\n"],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"421 bye\r\n"],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b""],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"451 4.0.0 no\r\n"],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"450 4.2.1 busy\r\n", b"250 ok\r\n"],
        [HELLO, RICH_EHLO, b"250 ok\r\n250 ok\r\n451 no\r\n", b"250 ok\r\n"],
        [HELLO, RICH_EHLO, b"450 no\r\n503 no\r\n503 no\r\n", b"250 ok\r\n"],
        [HELLO, RICH_EHLO, b"250 ok\r\n450\r\n354 go\r\n", b"554 no recipients\r\n"],
    ],
    ids=range(17),
)
async def test_what_defers(directory: Directory, script: list[bytes | Exception]) -> None:
    bench, connection = await scripted(directory, *script)
    await bench.add("far@example.net")
    await bench.queue.run_due()
    assert bench.bugs == []
    assert bench.states() == {"far@example.net": "deferred"}
    assert bench.store.queue[QueueId(1)].recipients[0].attempts == 1
    assert connection.closed


@pytest.mark.parametrize(
    "script",
    [
        [HELLO, PLAIN_EHLO, b"550 5.7.1 not you\r\n"],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"550 5.1.1\r\n", b"250 ok\r\n"],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"250 ok\r\n", b"554 no\r\n", b"250 ok\r\n"],
        [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"550 5.7.1 spam\r\n"],
    ],
    ids=range(4),
)
async def test_what_fails_and_the_sender_is_told(directory: Directory, script: list[bytes]) -> None:
    bench, _ = await scripted(directory, *script)
    await bench.add("far@example.net")
    await bench.queue.run_due()
    assert bench.states()["far@example.net"] == "failed"
    # The notification itself was tried at once and refused by the dialer: it stays, under the null reverse-path.
    (notice,) = bench.store.queue.values()
    assert notice.sender == ""
    assert [each.address for each in notice.recipients] == ["alice@example.com"]
    octets = bench.store.queued_octets(notice)
    assert b"\r\nFinal-Recipient: rfc822; far@example.net\r\nAction: failed\r\n" in octets
    assert b"Message-ID: <a@b>" in octets
    assert b".dots" not in octets, "the header is enough"
    facts = scan(octets)
    assert (facts.root.type, facts.root.subtype) == ("multipart", "report")


SAYINGS = st.sampled_from(
    [
        HELLO,
        PLAIN_EHLO,
        RICH_EHLO,
        b"250 ok\r\n",
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        b"354 go\r\n",
        b"334 \r\n",
        b"334 %%\r\n",
        b"421 4.3.2 bye\r\n",
        b"550 5.1.1 no\r\n",
        b"450-4.2.1 wait\r\n450 4.2.1 wait\r\n",
        b"220 go\r\n",
        b"235 in\r\n",
        b"250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN SCRAM-SHA-256\r\n",
        b"\r\n",
        b"250",
        b"\xff\x00\r\n",
        b"",
    ]
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(SAYINGS, max_size=12),
    st.sampled_from([Security.NONE, Security.STARTTLS]),
    st.sampled_from(["", "user"]),
    st.sampled_from(["7BIT", "BINARYMIME"]),
)
async def test_whatever_a_server_says(
    directory: Directory, script: list[bytes], security: Security, user: str, body: str
) -> None:
    """Nothing surprises, nothing hangs, every recipient has a result, and delivered means that the end was acknowledged."""
    host = Smarthost("smart.example.net", 25, security, user, "secret password")
    bench, connection = await scripted(directory, *script, host=host)
    await bench.add("one@example.net", "two@example.net", sender="", body=body)
    await bench.queue.run_due()
    assert bench.bugs == []
    assert bench.states().keys() == {"one@example.net", "two@example.net"}
    if "delivered" in bench.states().values():
        assert b"\r\n.\r\n" in connection.sent or b" LAST\r\n" in connection.sent
    if security is Security.NONE:
        assert b"AUTH PLAIN" not in connection.sent


async def test_recipients_have_results_of_their_own(directory: Directory) -> None:
    bench, connection = await scripted(
        directory,
        HELLO,
        RICH_EHLO,
        b"250 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n450 4.2.0 later\r\n354 go\r\n",
        b"250 2.0.0 queued\r\n",
        b"221 bye\r\n",
    )
    await bench.add("one@example.net", "two@example.net", "three@example.net", sender="")
    await bench.queue.run_due()
    assert bench.states() == {
        "one@example.net": "delivered",
        "two@example.net": "failed",
        "three@example.net": "deferred",
    }
    (kept,) = bench.store.queue.values()
    assert [each.state for each in kept.recipients] == ["delivered", "failed", "pending"]
    assert bytes(connection.sent).endswith(b"\r\n" + CONTENT.replace(b"\r\n.", b"\r\n..") + b".\r\nQUIT\r\n")
    assert b"MAIL FROM:<> SIZE=%d\r\n" % len(CONTENT) in connection.sent


async def test_a_message_larger_than_the_server_takes_is_not_begun(directory: Directory) -> None:
    bench, connection = await scripted(directory, HELLO, RICH_EHLO.replace(b"1000", b"10"), b"221 bye\r\n")
    await bench.add("far@example.net", sender="")
    await bench.queue.run_due()
    assert bench.states() == {"far@example.net": "failed"}
    assert b"MAIL" not in connection.sent


async def test_the_null_sender_is_never_told(directory: Directory) -> None:
    bench, _ = await scripted(directory, HELLO, PLAIN_EHLO, b"550 no\r\n")
    await bench.add("far@example.net", sender="")
    await bench.queue.run_due()
    assert bench.store.queue == {}


async def test_nothing_leaves_without_the_security_asked_for(directory: Directory) -> None:
    host = Smarthost("smart.example.net", 587, Security.STARTTLS, "user", "secret password")
    for script in (
        [HELLO, PLAIN_EHLO],
        [HELLO, b"250-smart\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", b"454 not now\r\n"],
        [HELLO, b"250-smart\r\n250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"],
        [HELLO, b"250-smart\r\n250 STARTTLS\r\n", b"220 go\r\n", b"250 smart\r\n"],
        [HELLO, b"250-smart\r\n250 STARTTLS\r\n", b"220 go\r\n", b"250 AUTH PLAIN\r\n"],
    ):
        bench, connection = await scripted(directory, *script, host=host)
        await bench.add("far@example.net")
        await bench.queue.run_due()
        assert bench.states() == {"far@example.net": "deferred"}
        assert b"AUTH" not in connection.sent
        assert b"MAIL" not in connection.sent
        assert connection.closed


async def test_no_password_in_clear(directory: Directory) -> None:
    host = Smarthost("smart.example.net", 25, Security.NONE, "user", "secret password")
    bench, connection = await scripted(directory, HELLO, b"250-smart\r\n250 AUTH PLAIN LOGIN\r\n", host=host)
    await bench.add("far@example.net")
    await bench.queue.run_due()
    assert bench.states() == {"far@example.net": "deferred"}
    assert b"AUTH" not in connection.sent


async def test_bare_line_ends_never_leave(directory: Directory) -> None:
    bench, connection = await scripted(
        directory, HELLO, PLAIN_EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n"
    )
    await bench.add("far@example.net", content=OURS + b"a\n.\nMAIL FROM:<x@y>\r.\r\n\n.\r\nend")
    await bench.queue.run_due()
    content = bytes(connection.sent).partition(b"DATA\r\n")[2].removesuffix(b"QUIT\r\n")
    assert content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n")
    assert content == b"a\r\n..\r\nMAIL FROM:<x@y>\r\n..\r\n\r\n..\r\nend\r\n.\r\n"


async def test_binary_goes_in_chunks_or_not_at_all(directory: Directory) -> None:
    binary = b"a\n\x00.\r\n"
    bench, connection = await scripted(
        directory, HELLO, RICH_EHLO, b"250 ok\r\n250 ok\r\n", b"250 ok\r\n", b"221 bye\r\n"
    )
    await bench.add("far@example.net", content=OURS + binary, body="BINARYMIME")
    await bench.queue.run_due()
    assert b"BODY=BINARYMIME\r\n" in connection.sent
    assert b"\r\nBDAT 6 LAST\r\n" + binary + b"QUIT" in connection.sent
    assert bench.store.queue == {}
    bench, connection = await scripted(directory, HELLO, PLAIN_EHLO, b"221 bye\r\n")
    await bench.add("far@example.net", content=OURS + binary, body="BINARYMIME", sender="")
    await bench.queue.run_due()
    assert bench.states() == {"far@example.net": "failed"}
    assert b"MAIL" not in connection.sent


async def test_utf8_needs_a_server_that_can(directory: Directory) -> None:
    bench, connection = await scripted(
        directory, HELLO, RICH_EHLO, b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n", b"221 bye\r\n"
    )
    await bench.add("é@example.net", smtputf8=True, body="8BITMIME")
    await bench.queue.run_due()
    assert "RCPT TO:<é@example.net>\r\n".encode() in connection.sent
    assert b" BODY=8BITMIME SMTPUTF8\r\n" in connection.sent
    bench, connection = await scripted(directory, HELLO, PLAIN_EHLO, b"221 bye\r\n")
    await bench.add("é@example.net", sender="")
    await bench.queue.run_due()
    assert bench.states() == {"é@example.net": "failed"}


async def test_a_reply_that_drips_is_not_waited_for_forever(directory: Directory) -> None:
    """threats S9"""
    bench = await Bench(directory, PLAIN_HOST).prepare(directory)

    class Dripping(ScriptedConnection):
        async def receive(self) -> bytes:
            bench.now += 10
            return b"2" if self.sent else b"220 hi\r\n"

    bench.dialer.waiting.append(Dripping([]))
    await bench.add("far@example.net")
    start = bench.now
    await bench.queue.run_due()
    assert bench.states() == {"far@example.net": "deferred"}
    assert 300 <= bench.now - start <= 400


async def test_many_recipients_go_in_several_transactions(directory: Directory) -> None:
    def transaction(count: int) -> list[bytes]:
        return [b"250 ok\r\n" * (count + 1) + b"354 go\r\n", b"250 ok\r\n"]

    bench, connection = await scripted(
        directory, HELLO, RICH_EHLO, *transaction(100), *transaction(100), *transaction(5), b"221 bye\r\n"
    )
    await bench.add(*(f"u{n}@example.net" for n in range(205)))
    await bench.queue.run_due()
    assert set(bench.states().values()) == {"delivered"}
    assert len(bench.states()) == 205
    assert connection.sent.count(b"MAIL FROM") == 3
    assert bench.store.queue == {}


async def test_days_without_a_smarthost(directory: Directory) -> None:
    """The whole life of a message that cannot leave: a warning after hours, a failure after days, both told to alice."""
    bench = await Bench(directory, PLAIN_HOST).prepare(directory)
    await bench.add("far@example.net", sender="alice@example.org")
    born = bench.now
    told: list[tuple[int, bytes]] = []
    while bench.store.queue:
        due = bench.store.next_due()
        assert due is not None
        bench.now = max(bench.now, due)
        await bench.queue.run_due()
        octets = bench.store.octets(_alice(directory))
        told += [(bench.now - born, each) for each in octets[len(told) :]]
    assert bench.bugs == []
    (warned, warning), (failed, failure) = told
    assert 4 * 3600 <= warned < 9 * 3600
    assert b"Action: delayed\r\n" in warning
    assert b"Will-Retry-Until: " in warning
    assert failed == 5 * 86_400
    assert b"Action: failed\r\nStatus: 4.4.7\r\n" in failure
    assert failure.startswith(b"Return-Path: <>\r\n")


def _alice(directory: Directory) -> Any:
    account = directory.account("alice@example.org")
    assert account is not None
    return account.id


async def test_a_local_mailbox_is_tried_again(directory: Directory) -> None:
    bench = await Bench(directory, None).prepare(directory)
    await bench.add("alice@example.org", "nobody@example.org", "carol@example.org")
    await bench.store.set_quota(_alice(directory), 10)
    await bench.queue.run_due()
    assert bench.states()["alice@example.org"] == "deferred"
    assert bench.states()["nobody@example.org"] == "failed"
    assert bench.states()["carol@example.org"] == "failed"
    await bench.store.set_quota(_alice(directory), 0)
    bench.now += 400
    await bench.queue.run_due()
    assert bench.store.octets(_alice(directory)) == [OURS + CONTENT]


async def test_without_a_smarthost_mail_waits(directory: Directory) -> None:
    bench = await Bench(directory, None).prepare(directory)
    await bench.add("far@example.net")
    await bench.queue.run_due()
    assert bench.states() == {"far@example.net": "deferred"}


async def test_a_crash_before_it_is_written_down_means_another_attempt(directory: Directory) -> None:
    said = [HELLO, PLAIN_EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n", b"221 bye\r\n"]
    bench = await Bench(
        directory, PLAIN_HOST, ScriptedConnection(list(said)), ScriptedConnection(list(said))
    ).prepare(directory)
    await bench.add("far@example.net")
    bench.store.failing.add("update")
    with pytest.raises(Unavailable):
        await bench.queue.run_due()
    assert len(bench.store.queue) == 1
    bench.store.failing.clear()
    await bench.queue.run_due()
    assert bench.store.queue == {}


async def test_a_bug_defers_one_message_and_no_other(directory: Directory) -> None:
    class Broken:
        async def dial(self, smarthost: Smarthost) -> Any:
            raise ZeroDivisionError

    bench = await Bench(directory, PLAIN_HOST).prepare(directory)
    object.__setattr__(bench.queue._service, "dialer", Broken())
    await bench.add("far@example.net")
    await bench.add("far@example.net")
    assert await bench.queue.run_due() == 2
    assert len(bench.bugs) == 2
    assert all(message.recipients[0].next_attempt > bench.now for message in bench.store.queue.values())


async def test_a_lane_works_until_it_is_stopped(directory: Directory) -> None:
    bench = await Bench(directory, None).prepare(directory)
    waits: list[float] = []

    class Pacer:
        async def wait(self, seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 1:
                await bench.add("alice@example.org")
            elif len(waits) == 2:
                bench.store.failing.add("update")
                await bench.add("alice@example.org")
            elif len(waits) == 3:
                bench.store.failing.clear()
                bench.queue.stop()

    await bench.queue.lane(Pacer())
    assert waits == [300.0, 300.0, 30.0]
    assert len(bench.store.octets(_alice(directory))) == 2
