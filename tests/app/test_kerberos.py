"""Tickets of a real KDC, verified by MIT's libraries: whole, replayed, altered, expired, for others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postroom.app.kerberos import Initiator, Tickets
from postroom.config.kerberos import Kerberos
from postroom.session.kerberos import TicketRefused
from postroom.wire.errors import RemoteProtocolError
from postroom.wire.sasl.api import Challenge, Failure, Success
from postroom.wire.sasl.gssapi import GssapiClient, GssapiServer, SecurityContextError
from tests.support.kdc import REALM, Kdc, need_gssapi
from tests.support.kpop import request_in, token_of_reply

pytestmark = pytest.mark.xdist_group("tickets")  # one KDC


@dataclass(frozen=True)
class Scene:
    """A realm with a user and a host, and what the host verifies tickets with."""

    kdc: Kdc
    users: Path
    tickets: Tickets

    def cache(self, user: str = "anna", *more: str) -> str:
        """Where a fresh ticket is."""
        return f"FILE:{self.kdc.log_in(user, self.users, *more)}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    need_gssapi()
    kdc = Kdc(tmp_path_factory.mktemp("kdc"))
    with kdc, pytest.MonkeyPatch.context() as patch:
        services = kdc.add("pop/localhost", "imap/localhost", keytab=kdc.folder / "services.keytab")
        users = kdc.add("anna", "anna/admin", keytab=kdc.folder / "users.keytab")
        for name, value in kdc.environment.items():
            patch.setenv(name, value)
        settings = Kerberos(keytab=services, realms=(f"{REALM}=example.test",))
        yield Scene(kdc, users, Tickets(settings, "localhost", lambda: 1_795_442_400.0))


def test_gssapi_in_both_roles(scene: Scene) -> None:
    client = GssapiClient(Initiator("imap", "localhost", scene.cache()), "anna@example.test")
    server = GssapiServer(scene.tickets.acceptor("imap"))
    step = server.step(client.initial())
    while isinstance(step, Challenge):
        step = server.step(client.step(step.octets))
    assert step == Success(f"anna@{REALM}", "anna@example.test")
    assert client.complete


def test_gssapi_refuses_a_ticket_for_another_service(scene: Scene) -> None:
    client = GssapiClient(Initiator("imap", "localhost", scene.cache()))
    assert isinstance(GssapiServer(scene.tickets.acceptor("pop")).step(client.initial()), Failure)


def test_gssapi_refuses_a_replay(scene: Scene) -> None:
    token = GssapiClient(Initiator("imap", "localhost", scene.cache())).initial()
    assert isinstance(GssapiServer(scene.tickets.acceptor("imap")).step(token), Challenge)
    refused = GssapiServer(scene.tickets.acceptor("imap")).step(token)
    assert isinstance(refused, Failure)
    assert "replay" in refused.reason


def test_gssapi_notices_an_altered_choice(scene: Scene) -> None:
    client = GssapiClient(Initiator("imap", "localhost", scene.cache()))
    server = GssapiServer(scene.tickets.acceptor("imap"))
    step = server.step(client.initial())
    assert isinstance(step, Challenge)
    step = server.step(client.step(step.octets))
    assert isinstance(step, Challenge)
    choice = bytearray(client.step(step.octets))
    choice[-1] ^= 1
    assert isinstance(server.step(bytes(choice)), Failure)


@pytest.mark.parametrize(
    "token", [b"garbage", b"\x60\x80", b"\0" * 4096, b"\x60\x82\xff\xff" + b"\6\0" * 100]
)
def test_gssapi_refuses_garbage(scene: Scene, token: bytes) -> None:
    assert isinstance(GssapiServer(scene.tickets.acceptor("imap")).step(token), Failure)


def test_a_service_without_a_key_takes_nothing(scene: Scene) -> None:
    with pytest.raises(SecurityContextError):
        scene.tickets.acceptor("smtp").step(b"anything")


def test_a_client_without_a_ticket(scene: Scene) -> None:
    client = GssapiClient(Initiator("imap", "localhost", f"FILE:{scene.kdc.folder}/none"))
    with pytest.raises(RemoteProtocolError):
        client.initial()


# --- KPOP


def test_a_request_is_read_and_answered(scene: Scene) -> None:
    initiator = Initiator("pop", "localhost", scene.cache())
    ticket = scene.tickets.read(request_in(initiator.step(b"")))
    assert ticket.principal == f"anna@{REALM}"
    assert not initiator.complete
    assert initiator.step(token_of_reply(ticket.reply)) == b""
    assert initiator.complete, "the reply proves who the server is"


def test_a_principal_with_an_instance_is_named_whole(scene: Scene) -> None:
    request = request_in(Initiator("pop", "localhost", scene.cache("anna/admin")).step(b""))
    ticket = scene.tickets.read(request)
    assert ticket.principal == f"anna/admin@{REALM}"
    assert scene.tickets.realms.login(ticket.principal) is None


def test_a_replayed_request(scene: Scene) -> None:
    request = request_in(Initiator("pop", "localhost", scene.cache()).step(b""))
    scene.tickets.read(request)
    with pytest.raises(TicketRefused) as refused:
        scene.tickets.read(request)
    assert refused.value.code == 34  # KRB_AP_ERR_REPEAT


def test_a_ticket_for_another_service(scene: Scene) -> None:
    with pytest.raises(TicketRefused) as refused:
        scene.tickets.read(request_in(Initiator("imap", "localhost", scene.cache()).step(b"")))
    assert refused.value.code == 35  # KRB_AP_ERR_NOT_US


def test_an_expired_ticket(scene: Scene) -> None:
    request = request_in(Initiator("pop", "localhost", scene.cache("anna", "-l", "5s")).step(b""))
    time.sleep(7.5)
    with pytest.raises(TicketRefused) as refused:
        scene.tickets.read(request)
    assert refused.value.code == 32  # KRB_AP_ERR_TKT_EXPIRED


def test_a_request_that_does_not_ask_for_the_server(scene: Scene) -> None:
    request = bytearray(request_in(Initiator("pop", "localhost", scene.cache()).step(b"")))
    at = request.index(bytes.fromhex("0305002000 0000".replace(" ", "")))
    request[at + 3] = 0  # the options of an AP-REQ are not protected
    with pytest.raises(TicketRefused) as refused:
        scene.tickets.read(bytes(request))
    assert refused.value.code == 48  # KRB_AP_ERR_METHOD


def test_an_altered_ticket(scene: Scene) -> None:
    request = bytearray(request_in(Initiator("pop", "localhost", scene.cache()).step(b"")))
    request[-20] ^= 1
    with pytest.raises(TicketRefused):
        scene.tickets.read(bytes(request))


@pytest.mark.parametrize(
    "request_", [b"\0", b"garbage", b"\x6e\x80", bytes(65536), b"\x6e\x84\xff\xff\xff\xff"]
)
def test_garbage(scene: Scene, request_: bytes) -> None:
    with pytest.raises(TicketRefused):
        scene.tickets.read(request_)


def test_every_beginning_of_a_request(scene: Scene) -> None:
    request = request_in(Initiator("pop", "localhost", scene.cache()).step(b""))
    for length in range(1, len(request), 7):
        with pytest.raises(TicketRefused):
            scene.tickets.read(request[:length])
