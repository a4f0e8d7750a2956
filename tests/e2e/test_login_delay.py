"""LOGIN-DELAY holds for an account whichever worker takes the connection (RFC 2449 §6.5), and outlives the workers."""

from __future__ import annotations

import poplib
import ssl
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import new_account
from tests.support.live import DOMAIN, LiveServer

pytestmark = pytest.mark.e2e

TRIES = 12
"""The kernel chooses the worker by the client's port: that all go to one of two happens once in 2,000 runs, and fails nothing."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(
        tmp_path_factory.mktemp("login-delay"), workers=2, extra_config="[pop3]\nlogin_delay = 3600\n"
    )
    made.write_config()
    made.run("init")
    made.run("domain", "add", DOMAIN)
    made.start()
    yield made
    made.kill()


def log_in(server: LiveServer, address: str, password: str) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    pop = poplib.POP3_SSL("127.0.0.1", server.port("pop3s"), context=context, timeout=30)
    try:
        pop.user(address)
        return bytes(pop.pass_(password))
    except poplib.error_proto as error:
        return bytes(error.args[0])
    finally:
        pop.quit()


def test_two_workers_and_a_restart(server: LiveServer) -> None:
    anna, bert = new_account(server), new_account(server)
    answers = [log_in(server, anna.address, anna.password) for _ in range(TRIES)]
    assert answers[0].startswith(b"+OK")
    assert all(answer.startswith(b"-ERR [LOGIN-DELAY]") for answer in answers[1:]), answers
    assert log_in(server, bert.address, bert.password).startswith(b"+OK"), "the delay is each account's own"
    assert server.stop() == 0
    server.start()
    assert log_in(server, anna.address, anna.password).startswith(b"-ERR [LOGIN-DELAY]")
