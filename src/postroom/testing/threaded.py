"""A server in a thread of its own, for tests that block: ``smtplib``, ``poplib``, ``imaplib``, web frameworks.

Invariants: everything of the server happens in its thread's loop; every method may be called from any other thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from postroom.testing.endpoints import Endpoints
from postroom.testing.messages import MessageLike, OutgoingMessage, StoredMessage
from postroom.testing.server import InProcessServer

T = TypeVar("T")

_PATIENCE: Final = 60.0
"""Seconds after which a call that should take none is given up: the loop is stuck."""


class ThreadedServer(Endpoints):
    """A server in a background thread; use it as a context manager, or ``start`` and ``stop`` it.

    ::

        with ThreadedServer() as server:
            server.add_account("ann@example.test", "secret")
            smtplib.SMTP(*server.smtp).sendmail("bob@elsewhere.test", ["ann@example.test"], b"Subject: hello\\r\\n\\r\\n")
            assert server.wait_for_message("ann@example.test").subject == "hello"
    """

    def __init__(
        self, *, tls: bool = False, directory: Path | None = None, hostname: str = "localhost"
    ) -> None:
        """As for ``InProcessServer``."""
        self._server = InProcessServer(tls=tls, directory=directory, hostname=hostname)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    # --- life

    def start(self) -> Self:
        """Serve; returns when every port takes connections. Raises OSError, AlreadyRunning (another server is at work on
        the directory), and what the store raises."""
        if self._thread is not None:
            raise RuntimeError("the server runs already")
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="postroom-server", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._loop is None:
            self._join()
        return self

    def stop(self) -> None:
        """Let sessions take leave, close everything, end the thread; idempotent. Raises what went wrong in it."""
        if self._thread is None or self._loop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself: ``_join`` says why
            self._loop.call_soon_threadsafe(self._stop.set)
        self._join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _join(self) -> None:
        assert self._thread is not None
        self._thread.join()
        self._thread = self._loop = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self, started: threading.Event) -> None:
        try:
            # asyncio's own loop, whatever policy the program under test has set.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve(started))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that started or stops it
            self._failure = error
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        async with self._server:
            self._loop = asyncio.get_running_loop()
            started.set()
            await self._stop.wait()

    def _call(self, coroutine: Coroutine[Any, Any, T], patience: float = 0.0) -> T:
        """Run in the server's loop; ``patience`` in seconds on top of what a call may take."""
        loop = self._loop
        if loop is None:
            coroutine.close()
            raise RuntimeError("the server does not run")
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("called from the server's own thread")
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(_PATIENCE + patience)

    def _do(self, function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        return self._call(run())

    # --- where it is

    @property
    def ports(self) -> Mapping[str, int]:
        """Ports by name: smtp, submission, lmtp, pop3, imap; with TLS submissions, pop3s, imaps too. Empty when stopped."""
        return self._server.ports

    @property
    def certificate(self) -> Path:
        """The throwaway certificate, PEM; for clients that are to trust it. Raises LookupError without TLS."""
        return self._server.certificate

    # --- who is there

    def add_account(self, address: str, password: str, *, quota: int = 0) -> None:
        """Make an account (and its domain). ``quota`` in octets, 0 for none. Any password will do. Raises InvalidName,
        EntryExists."""
        self._call(self._server.add_account(address, password, quota=quota))

    def add_domain(self, name: str, *, catch_all: str | None = None) -> None:
        """Receive mail for a domain; ``catch_all`` is the address that gets what nobody else there does. Idempotent.
        Raises InvalidName."""
        self._do(lambda: self._server.add_domain(name, catch_all=catch_all))

    def add_alias(self, address: str, *targets: str) -> None:
        """Have an address stand for others, here or elsewhere. Raises InvalidName, EntryExists."""
        self._do(lambda: self._server.add_alias(address, *targets))

    def reset(self) -> None:
        """As after the start: no connection, account, alias, domain, message or fault is left; ports stay."""
        self._call(self._server.reset())

    # --- mail

    def deliver(
        self,
        recipient: str,
        message: MessageLike,
        *,
        sender: str = "",
        mailbox: str = "INBOX",
        flags: Iterable[str] = (),
    ) -> None:
        r"""Put a message into a mailbox at once, without SMTP, octets as given; the mailbox is made if it is missing.

        ``recipient`` may be an alias; ``flags`` as IMAP spells them (``\Seen``, keywords). Raises NoSuchRecipient,
        QuotaExceeded, InvalidName.
        """
        self._call(self._server.deliver(recipient, message, sender=sender, mailbox=mailbox, flags=flags))

    def messages(self, address: str, mailbox: str = "INBOX") -> list[StoredMessage]:
        """What is in a mailbox, oldest first. Raises NoSuchRecipient, NoSuchMailbox."""
        return self._call(self._server.messages(address, mailbox))

    def mailboxes(self, address: str) -> list[str]:
        """Names of an account's mailboxes. Raises NoSuchRecipient."""
        return self._do(lambda: self._server.mailboxes(address))

    def wait_for_message(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        mailbox: str = "INBOX",
        where: Callable[[StoredMessage], bool] | None = None,
    ) -> StoredMessage:
        """The first message in a mailbox, or the first for which ``where`` is true; waits ``timeout`` seconds for it.

        ``where`` runs in the server's thread: it looks at the message it is given, and calls nothing here. Raises
        TimeoutError, NoSuchRecipient.
        """
        work = self._server.wait_for_message(address, timeout=timeout, mailbox=mailbox, where=where)
        return self._call(work, timeout)

    @property
    def outbox(self) -> list[OutgoingMessage]:
        """Mail for foreign domains, oldest first. It stays here."""
        return self._call(self._server.outgoing())

    def wait_for_outgoing(
        self, *, timeout: float = 5.0, where: Callable[[OutgoingMessage], bool] | None = None
    ) -> OutgoingMessage:
        """The first message for a foreign domain, or the first for which ``where`` is true. Raises TimeoutError."""
        return self._call(self._server.wait_for_outgoing(timeout=timeout, where=where), timeout)

    def clear_outbox(self) -> None:
        """Forget the mail for foreign domains."""
        self._call(self._server.clear_outbox())

    # --- trouble

    def refuse(self, recipient: str, code: int = 550, text: str = "5.1.1 No such recipient") -> None:
        """Answer RCPT for an address so, on every port, whoever asks; ``accept`` takes it back. 421 closes the session.
        Raises ValueError for a code other than 400 to 599, or a text that is no reply."""
        self._do(lambda: self._server.refuse(recipient, code, text))

    def accept(self, recipient: str) -> None:
        """Take back ``refuse``."""
        self._do(lambda: self._server.accept(recipient))

    def delay(self, seconds: float) -> None:
        """Wait so long before every answer, the greeting included; 0 ends it. Raises ValueError."""
        self._do(lambda: self._server.delay(seconds))

    def drop_connections(self) -> None:
        """Reset every open connection, as a crash would."""
        self._call(self._server.drop_connections())
