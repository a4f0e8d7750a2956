"""A complete mail server inside an event loop: the same engines, sessions, delivery and store as ``postroom serve``.

Invariants:
- It listens on loopback only, on ports that the kernel chooses; passwords in clear are taken there and nowhere else.
- Mail for foreign domains goes into ``outbox``: nothing in here dials.
- After ``stop`` no port, thread, task or temporary file of it is left.

It must not know: pytest, threads (``ThreadedServer`` does).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from postroom.app.parent import take_lock
from postroom.app.services import Services
from postroom.app.storage import SoleStorage
from postroom.config.paths import DataDir
from postroom.config.settings import TlsVersion
from postroom.delivery.trace import RETURN_PATH
from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.errors import NoSuchMailbox, NoSuchRecipient
from postroom.model.flags import SystemFlag
from postroom.model.ids import AccountId
from postroom.model.message import NewMessage, Octets
from postroom.model.uidset import UidSet
from postroom.net.listeners import bind
from postroom.store.api import Column, QueuedMessage
from postroom.store.directory import NewAccount, PasswordRefused
from postroom.testing import logs
from postroom.testing.configuration import listeners, settings_for
from postroom.testing.endpoints import Endpoints
from postroom.testing.faults import Faults
from postroom.testing.messages import MessageLike, OutgoingMessage, StoredMessage, octets_of

if TYPE_CHECKING:
    from postroom.app.certificates import Certificates

_TICK: Final = 1.0
_LEAVE_SECONDS: Final = 2.0
_END_OF_TIME: Final = 1 << 61
_OUTBOX_LIMIT: Final = 1 << 30
_COLUMNS: Final = (
    Column.UID,
    Column.FLAGS,
    Column.KEYWORDS,
    Column.INTERNAL_DATE,
    Column.ENVELOPE_FROM,
    Column.ENVELOPE_TO,
    Column.OCTETS,
)
_FLAG_NAMES: Final = {flag: f"\\{flag.name.capitalize()}" for flag in SystemFlag if flag.name}
_FLAGS: Final = {name.lower(): flag for flag, name in _FLAG_NAMES.items()}


class NoMeter:
    """Counts nothing: metrics belong to a process, servers in tests to nobody. Implements ``net.listeners.Meter``."""

    def opened(self, protocol: str) -> None:
        """A connection was accepted."""

    def closed(self, protocol: str) -> None:
        """A connection ended."""

    def refused(self, protocol: str) -> None:
        """A connection was over a limit."""

    def error(self, protocol: str) -> None:
        """An internal error was logged."""


class NoCertificates:
    """For a server without TLS. Implements ``app.services.Contexts``."""

    def context(self, alpn: str, authorities: Path | None = None) -> ssl.SSLContext:  # noqa: ARG002
        """Never asked for: no listener offers TLS."""
        raise AssertionError(f"no certificate for {alpn}")


class InProcessServer(Endpoints):
    """A server in the running event loop; use it as an asynchronous context manager, or ``start`` and ``stop`` it.

    Every method that reads or changes something belongs into the loop's thread, between ``start`` and ``stop``.
    """

    def __init__(
        self, *, tls: bool = False, directory: Path | None = None, hostname: str = "localhost"
    ) -> None:
        """``tls``: STARTTLS on every port but LMTP's, and submissions, pop3s and imaps besides, with a throwaway certificate.
        ``directory``: keep everything there, in SQLite, instead of in memory; a server started later on it finds it again.
        ``hostname`` is what the server calls itself."""
        self._tls = tls
        self._directory = directory
        self._hostname = hostname
        self._faults = Faults()
        self._ports: dict[str, int] = {}
        self._stack: contextlib.AsyncExitStack | None = None

    # --- life

    async def start(self) -> Self:
        """Serve; returns when every port takes connections. Raises OSError, AlreadyRunning (another server is at work on
        the directory), and what the store raises."""
        if self._stack is not None:
            raise RuntimeError("the server runs already")
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        logs.enter(self)
        stack.callback(logs.leave, self)
        stack.callback(self._ports.clear)
        temporary = Path(tempfile.mkdtemp(prefix="postroom-"))
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        durable = self._directory is not None
        data = DataDir(self._directory or temporary)
        settings = settings_for(data.root, self._hostname, durable=durable)
        if durable:
            data.make()
            stack.callback(os.close, take_lock(data))
        self._certificate = temporary / "cert.pem"
        certificates = self._certificates(temporary) if self._tls else NoCertificates()
        storage = SoleStorage(settings, data, loop)
        stack.push_async_callback(storage.close)
        self._entries, self._store = storage.directory, storage.store
        self._services = Services(
            settings,
            self._store,
            self._entries,
            certificates=certificates,
            metrics=NoMeter(),
            loop=loop,
            workers=1,
            wrap=self._faults.wrap,
        )
        stack.push_async_callback(self._leave)
        await self._services.provisioner.follow()
        await self._listen()
        ticker = loop.create_task(self._ticks())
        stack.push_async_callback(_ended, ticker)

    async def stop(self) -> None:
        """Let sessions take leave, close everything; idempotent."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _listen(self) -> None:
        for name, listener in listeners(tls=self._tls):
            bound = bind(listener.address, 0, reuse_port=False)
            try:
                await self._services.listen(listener, bound)
            except BaseException:
                bound.close()
                raise
            self._ports[name] = bound.getsockname()[1]

    async def _ticks(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK)
            self._services.tick(loop.time())

    async def _leave(self) -> None:
        services, loop = self._services, asyncio.get_running_loop()
        self._faults.clear()
        services.stop_listening()
        services.shut_down()
        end = loop.time() + _LEAVE_SECONDS
        while self._faults.sessions and loop.time() < end:  # noqa: ASYNC110 - a few turns at the very end
            await asyncio.sleep(0.001)
        await self.drop_connections()
        await services.close(wait=True)
        # Transports report their end in the loop's next turns.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _certificates(self, folder: Path) -> Certificates:
        from postroom.app.certificates import Certificates
        from postroom.config.certificate import ensure_certificate

        key = folder / "key.pem"
        ensure_certificate(self._certificate, key, self._hostname, datetime.now(UTC))
        return Certificates(self._certificate, key, TlsVersion.TLS_1_2)

    # --- where it is

    @property
    def ports(self) -> Mapping[str, int]:
        """Ports by name: smtp, submission, lmtp, pop3, imap; with TLS submissions, pop3s, imaps too. Empty when stopped."""
        return dict(self._ports)

    @property
    def certificate(self) -> Path:
        """The throwaway certificate, PEM; for clients that are to trust it. Raises LookupError without TLS."""
        if not self._tls or self._stack is None:
            raise LookupError("there is no certificate: the server does not run, or not with tls=True")
        return self._certificate

    # --- who is there

    async def add_account(self, address: str, password: str, *, quota: int = 0) -> None:
        """Make an account (and its domain). ``quota`` in octets, 0 for none. Any password will do: the rules for new ones
        are for people. Raises InvalidName, EntryExists."""
        self.add_domain(address.rpartition("@")[2])
        entries = self._entries
        try:
            account = entries.add_account(address, password, quota=quota)
        except PasswordRefused:
            hashed = entries.scheme.hash(password)
            made = entries.import_accounts([NewAccount(address, quota=quota, password_hash=hashed)])[0]
            if not isinstance(made, Account):
                raise made from None
            account = made
            # An account taken over with a hash has no SCRAM keys; storing its password anew makes them.
            entries.renew_password(account.id, hashed, password)
        await self._services.provisioner.welcome(account)

    def add_domain(self, name: str, *, catch_all: str | None = None) -> None:
        """Receive mail for a domain; ``catch_all`` is the address that gets what nobody else there does. Idempotent.
        Raises InvalidName."""
        if not self._entries.is_local_domain(name):
            self._entries.add_domain(name)
        if catch_all is not None:
            self._entries.set_catch_all(name, catch_all)

    def add_alias(self, address: str, *targets: str) -> None:
        """Have an address stand for others, here or elsewhere. Raises InvalidName, EntryExists."""
        self.add_domain(address.rpartition("@")[2])
        self._entries.add_alias(address, targets)

    async def reset(self) -> None:
        """As after the start: no connection, account, alias, domain, message or fault is left; ports stay."""
        self._faults.clear()
        await self.drop_connections()
        entries = self._entries
        for account in list(entries.accounts()):
            await self._store.delete_account(account.id)
            entries.remove_account(account.name)
        for alias in entries.aliases():
            entries.remove_alias(alias.address)
        for domain in entries.domains():
            entries.remove_domain(domain.name)
        await self.clear_outbox()

    # --- mail here

    async def deliver(
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
        store = self._store
        local, _, domain = recipient.rpartition("@")
        accounts = [target.account for target in self._entries.resolve(Address(local, domain)).local]
        if not accounts:
            raise NoSuchRecipient
        bits, keywords = _parse_flags(flags)
        spool = store.spool()
        waiting = spool.write(octets_of(message))
        if waiting is not None:
            await waiting
        content = await spool.finish()
        for account in accounts:
            try:
                target = store.mailbox(account.id, mailbox)
            except NoSuchMailbox:
                target = await store.create_mailbox(account.id, mailbox)
            new = NewMessage(
                content.blob,
                content.facts,
                int(time.time()),
                flags=bits,
                keywords=keywords,
                envelope_from=sender,
                envelope_to=recipient,
            )
            await store.append(account.id, target.id, [new])

    async def messages(self, address: str, mailbox: str = "INBOX") -> list[StoredMessage]:
        """What is in a mailbox, oldest first. Raises NoSuchRecipient, NoSuchMailbox."""
        return await self._read(self._account(address), mailbox)

    def mailboxes(self, address: str) -> list[str]:
        """Names of an account's mailboxes. Raises NoSuchRecipient."""
        return [each.name for each in self._store.mailboxes(self._account(address)) if each.selectable]

    async def wait_for_message(
        self,
        address: str,
        *,
        timeout: float = 5.0,  # noqa: ASYNC109 - the error tells what there is instead
        mailbox: str = "INBOX",
        where: Callable[[StoredMessage], bool] | None = None,
    ) -> StoredMessage:
        """The first message in a mailbox, or the first for which ``where`` is true; waits ``timeout`` seconds for it.

        Raises TimeoutError, NoSuchRecipient.
        """
        account = self._account(address)
        changed = asyncio.Event()
        seen: list[StoredMessage] = []
        end = self._store.watch.subscribe(account, lambda _modseq: changed.set())
        try:
            async with asyncio.timeout(timeout):
                while True:
                    changed.clear()
                    seen = []
                    with contextlib.suppress(NoSuchMailbox):
                        seen = await self._read(account, mailbox)
                    for message in seen:
                        if where is None or where(message):
                            return message
                    await changed.wait()
        except TimeoutError:
            there = ", ".join(repr(message.subject) for message in seen) or "nothing"
            raise TimeoutError(
                f"no such message in {mailbox} of {address} within {timeout:g} s; there is {there}"
            ) from None
        finally:
            end()

    async def _read(self, account: AccountId, mailbox: str) -> list[StoredMessage]:
        store = self._store
        box = store.mailbox(account, mailbox)
        found = []
        for rows in store.fetch(account, box.id, UidSet.of(store.uids(account, box.id)), _COLUMNS):
            for uid, bits, keywords, date, sender, recipient, octets in rows:
                names = {name for flag, name in _FLAG_NAMES.items() if bits & flag}
                found.append(
                    StoredMessage(
                        int(uid),
                        await _all_of(octets),
                        frozenset(names.union(keywords.split())),
                        sender,
                        () if recipient is None else (recipient,),
                        datetime.fromtimestamp(date, UTC),
                    )
                )
        return found

    def _account(self, address: str) -> AccountId:
        account = self._entries.account(address)
        if account is None:
            raise NoSuchRecipient(f"There is no account {address}")
        return account.id

    # --- mail elsewhere

    async def outgoing(self) -> list[OutgoingMessage]:
        """Mail for foreign domains, oldest first. It stays here."""
        found = []
        for queued in sorted(self._queued(), key=lambda each: each.id):
            recipients = tuple(each.address for each in queued.recipients if self._is_foreign(each.address))
            if recipients:
                octets = await _all_of(self._store.queue_octets(queued))
                if octets.startswith(RETURN_PATH):
                    octets = octets[octets.index(b"\r\n") + 2 :]
                submitted = datetime.fromtimestamp(queued.created, UTC)
                found.append(OutgoingMessage(octets, queued.sender, recipients, submitted))
        return found

    async def wait_for_outgoing(
        self,
        *,
        timeout: float = 5.0,  # noqa: ASYNC109 - the error tells what there is instead
        where: Callable[[OutgoingMessage], bool] | None = None,
    ) -> OutgoingMessage:
        """The first message for a foreign domain, or the first for which ``where`` is true. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            found = await self.outgoing()
            for message in found:
                if where is None or where(message):
                    return message
            left = end - loop.time()
            if left <= 0:
                there = ", ".join(repr(message.subject) for message in found) or "nothing"
                raise TimeoutError(f"no such message has left within {timeout:g} s; there is {there}")
            await self._services.outgoing.wait(left)

    async def clear_outbox(self) -> None:
        """Forget the mail for foreign domains."""
        for queued in self._queued():
            done = [replace(each, state="delivered") for each in queued.recipients]
            await self._store.update_queued(replace(queued, recipients=done))

    def _queued(self) -> list[QueuedMessage]:
        return self._store.due(_END_OF_TIME, _OUTBOX_LIMIT)

    def _is_foreign(self, address: str) -> bool:
        return not self._entries.is_local_domain(address.rpartition("@")[2])

    # --- trouble

    def refuse(self, recipient: str, code: int = 550, text: str = "5.1.1 No such recipient") -> None:
        """Answer RCPT for an address so, on every port, whoever asks; ``accept`` takes it back. 421 closes the session.
        Raises ValueError for a code other than 400 to 599, or a text that is no reply."""
        self._faults.refuse(recipient, code, text)

    def accept(self, recipient: str) -> None:
        """Take back ``refuse``."""
        self._faults.accept(recipient)

    def delay(self, seconds: float) -> None:
        """Wait so long before every answer, the greeting included; 0 ends it. Raises ValueError."""
        self._faults.delay(seconds)

    async def drop_connections(self) -> None:
        """Reset every open connection, as a crash would."""
        self._services.abort()
        while self._faults.sessions:  # noqa: ASYNC110 - a few turns
            await asyncio.sleep(0.001)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _all_of(octets: Octets) -> bytes:
    got = octets.read(0, octets.size)
    return got if isinstance(got, bytes) else await got


def _parse_flags(names: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    bits, keywords = 0, []
    for name in names:
        if name.startswith("\\"):
            flag = _FLAGS.get(name.lower())
            if flag is None:
                raise ValueError(f"{name} is no flag that can be set")
            bits |= flag
        else:
            keywords.append(name)
    return bits, tuple(keywords)
