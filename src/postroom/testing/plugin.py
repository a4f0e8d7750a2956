"""pytest fixtures: a mail server for every test that asks for one, without a line of set-up.

pytest finds this module by itself (entry point ``pytest11``). ``postroom_server`` is one server for the whole run, emptied
around every test that uses it; the other fixtures are parts of it, or kinds of it.

Invariants: every name begins with ``postroom``; nothing of the server is imported before a fixture is used; each process
of pytest-xdist has servers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from postroom.testing.endpoints import Endpoint
    from postroom.testing.threaded import ThreadedServer


class PostroomAccount(NamedTuple):
    """An account that a fixture has made."""

    address: str
    password: str


_ACCOUNT = PostroomAccount("user@example.test", "a password of user")


@pytest.fixture(scope="session")
def postroom_session_server() -> Iterator[ThreadedServer]:
    """The server behind ``postroom_server``; for fixtures of a wider scope that need its ports only."""
    from postroom.testing.threaded import ThreadedServer

    with ThreadedServer() as server:
        yield server


@pytest.fixture(scope="session")
def postroom_tls_session_server() -> Iterator[ThreadedServer]:
    """The server behind ``postroom_tls_server``."""
    from postroom.testing.threaded import ThreadedServer

    with ThreadedServer(tls=True) as server:
        yield server


@pytest.fixture
def postroom_server(postroom_session_server: ThreadedServer) -> Iterator[ThreadedServer]:
    """A mail server without accounts, messages or faults."""
    yield from _clean(postroom_session_server)


@pytest.fixture
def postroom_tls_server(postroom_tls_session_server: ThreadedServer) -> Iterator[ThreadedServer]:
    """The same with STARTTLS, and with submissions, pop3s and imaps; ``client_context()`` trusts it."""
    yield from _clean(postroom_tls_session_server)


@pytest.fixture
def postroom_new_server() -> Iterator[Callable[[], ThreadedServer]]:
    """Makes further servers, stopped after the test: ``postroom_new_server()``."""
    import contextlib

    from postroom.testing.threaded import ThreadedServer

    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(ThreadedServer())


@pytest.fixture
def postroom_account(postroom_server: ThreadedServer) -> PostroomAccount:
    """An account on ``postroom_server``: (address, password)."""
    postroom_server.add_account(*_ACCOUNT)
    return _ACCOUNT


@pytest.fixture
def postroom_smtp(postroom_server: ThreadedServer) -> Endpoint:
    """(host, port) of ``postroom_server`` for mail from other servers."""
    return postroom_server.smtp


@pytest.fixture
def postroom_submission(postroom_server: ThreadedServer) -> Endpoint:
    """(host, port) of ``postroom_server`` for mail from its accounts."""
    return postroom_server.submission


@pytest.fixture
def postroom_lmtp(postroom_server: ThreadedServer) -> Endpoint:
    """(host, port) of ``postroom_server`` for LMTP."""
    return postroom_server.lmtp


@pytest.fixture
def postroom_pop3(postroom_server: ThreadedServer) -> Endpoint:
    """(host, port) of ``postroom_server`` for POP3."""
    return postroom_server.pop3


@pytest.fixture
def postroom_imap(postroom_server: ThreadedServer) -> Endpoint:
    """(host, port) of ``postroom_server`` for IMAP."""
    return postroom_server.imap


def _clean(server: ThreadedServer) -> Iterator[ThreadedServer]:
    # Before the test too: somebody may have used the session's server without this fixture.
    server.reset()
    yield server
    server.reset()
