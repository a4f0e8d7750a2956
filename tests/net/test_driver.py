"""The driver against real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from postroom.net.driver import DriverSettings
from postroom.net.tls import server_context
from tests.net.echo import EchoServer

Certificate = tuple[Path, Path]


async def _lines(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    async with asyncio.timeout(20):
        return [await reader.readline() for _ in range(count)]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except (OSError, ssl.SSLError):
        return


async def test_pipelined_lines_are_answered_in_order() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"".join(b"line %d\r\n" % n for n in range(2000)))
        answers = await _lines(reader, 2001)
        assert answers == [b"hello\r\n", *(b"line %d\r\n" % n for n in range(2000))]
        await _close(writer)
        await _until(lambda: server.sessions[0].ended == 1)
        assert server.meter.events == ["opened", "closed"]


async def test_half_closed_socket_gets_its_answers() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"one\r\ntwo\r\n")
        writer.write_eof()
        async with asyncio.timeout(20):
            assert await reader.read() == b"hello\r\none\r\ntwo\r\n"
        await _close(writer)


async def test_a_bug_is_answered_and_the_second_one_ends_the_connection() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"BUG\r\nstill here\r\n")
        assert await _lines(reader, 3) == [b"hello\r\n", b"oops\r\n", b"still here\r\n"]
        writer.write(b"BUG\r\n")
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        assert len(server.sessions[0].failures) == 1
        assert server.meter.events.count("error") == 2
        await _close(writer)


async def test_an_exchange_inside_a_command() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"ASK\r\n")
        assert await _lines(reader, 2) == [b"hello\r\n", b"?\r\n"]
        writer.write(b"yes\r\nafter\r\n")
        assert await _lines(reader, 2) == [b"you said yes\r\n", b"after\r\n"]
        await _close(writer)


async def test_an_exchange_cut_short_ends_the_session_once() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"ASK\r\n")
        assert await _lines(reader, 2) == [b"hello\r\n", b"?\r\n"]
        await _close(writer)
        await _until(lambda: server.sessions[0].ended == 1)
        assert "error" not in server.meter.events


async def test_wake_reaches_the_session_between_commands() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await _lines(reader, 1) == [b"hello\r\n"]
        server.sessions[0].transport.wake()
        assert await _lines(reader, 1) == [b"woken\r\n"]
        await _close(writer)


async def test_a_slice_streams_whole_to_a_slow_reader() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
        writer.write(b"BIG\r\nend\r\n")
        assert await _lines(reader, 1) == [b"hello\r\n"]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(60):
            assert await reader.readexactly(3_000_000) == b"x" * 3_000_000
        assert await _lines(reader, 1) == [b"end\r\n"]
        await _close(writer)


async def test_a_peer_that_does_not_read_is_dropped() -> None:
    async with EchoServer(driver=DriverSettings(write_timeout=0.0)) as server:
        quiet = socket.create_connection(("127.0.0.1", server.port))
        quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        quiet.sendall(b"BIG\r\n" * 10)
        async with asyncio.timeout(20):
            while server.service.connections or not server.sessions:
                server.service.tick(server.service.now() + 1)
                await asyncio.sleep(0.01)
        assert server.sessions[0].ended == 1
        quiet.close()


async def test_overdue_deadline_is_told_to_the_peer() -> None:
    async with EchoServer(idle=5.0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await _lines(reader, 1) == [b"hello\r\n"]
        server.service.tick(server.service.now() + 1)
        writer.write(b"still\r\n")
        assert await _lines(reader, 1) == [b"still\r\n"]
        server.service.tick(server.service.now() + 60)
        async with asyncio.timeout(20):
            assert await reader.read() == b"too slow\r\n"
        await _close(writer)


async def test_shutdown_takes_leave_of_idle_sessions() -> None:
    async with EchoServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await _lines(reader, 1) == [b"hello\r\n"]
        server.service.shut_down()
        async with asyncio.timeout(20):
            assert await reader.read() == b"stopping\r\n"
        await _close(writer)


async def test_starttls_and_what_came_before_it(certificate: Certificate) -> None:
    context = server_context(*certificate, "imap")
    async with EchoServer(context, tls="starttls") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"STARTTLS\r\n")
        assert await _lines(reader, 2) == [b"hello\r\n", b"go\r\n"]
        client = ssl.create_default_context(cafile=str(certificate[0]))
        await writer.start_tls(client, server_hostname="localhost")
        writer.write(b"TLS?\r\n")
        assert await _lines(reader, 1) == [b"TLSv1.3\r\n"]
        await _close(writer)


@pytest.mark.parametrize("injected", [b"INJECTED\r\n", b"I", b"\r\n"])
async def test_octets_behind_starttls_end_the_connection(certificate: Certificate, injected: bytes) -> None:
    context = server_context(*certificate, "imap")
    async with EchoServer(context, tls="starttls") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await _lines(reader, 1) == [b"hello\r\n"]
        writer.write(b"STARTTLS\r\n" + injected)
        async with asyncio.timeout(20):
            rest = await reader.read()
        assert b"INJECTED" not in rest
        assert server.sessions[0].engine.seen == []
        await _until(lambda: server.sessions[0].ended == 1)
        await _close(writer)


async def test_implicit_tls_carries_bulk_both_ways(certificate: Certificate) -> None:
    context = server_context(*certificate, "imap")
    client = ssl.create_default_context(cafile=str(certificate[0]))
    async with EchoServer(context, tls="implicit") as server:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=client, server_hostname="localhost"
        )
        writer.write(b"BIG\r\n" + b"y" * 300_000 + b"\r\n")
        async with asyncio.timeout(60):
            expected = b"hello\r\n" + b"x" * 3_000_000 + b"y" * 300_000 + b"\r\n"
            assert await reader.readexactly(len(expected)) == expected
        writer.write(b"QUIT\r\n")
        async with asyncio.timeout(20):
            assert await reader.read() == b"bye\r\n"
        await _close(writer)


@pytest.mark.parametrize(
    ("offered", "accepted"), [(["imap"], True), (["h2"], False), (["h2", "imap"], True), (None, True)]
)
async def test_alpn_is_strict(certificate: Certificate, offered: list[str] | None, accepted: bool) -> None:
    context = server_context(*certificate, "imap")
    client = ssl.create_default_context(cafile=str(certificate[0]))
    if offered:
        client.set_alpn_protocols(offered)
    async with EchoServer(context, tls="implicit") as server:
        if accepted:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=client, server_hostname="localhost"
            )
            assert await _lines(reader, 1) == [b"hello\r\n"]
            await _close(writer)
        else:
            with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
                await asyncio.open_connection(
                    "127.0.0.1", server.port, ssl=client, server_hostname="localhost"
                )


async def test_cleartext_on_a_tls_port_gets_nothing(certificate: Certificate) -> None:
    context = server_context(*certificate, "imap")
    async with EchoServer(context, tls="implicit") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(20):
            assert b"hello" not in await reader.read()
        assert server.sessions[0].engine.seen == []
        await _close(writer)


async def test_cleartext_after_close_notify_is_never_read(certificate: Certificate) -> None:
    """Threats T6: a TLS layer that closes in the middle must end the whole connection."""
    context = server_context(*certificate, "imap")
    async with EchoServer(context, tls="implicit") as server:
        plain = socket.create_connection(("127.0.0.1", server.port))
        plain.setblocking(True)
        client = ssl.create_default_context(cafile=str(certificate[0]))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")

        def speak() -> None:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
            tls.write(b"half a li")
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            plain.sendall(outgoing.read() + b"ne\r\nQUIT\r\n")

        await asyncio.to_thread(speak)
        await _until(lambda: server.sessions[0].ended == 1)
        assert server.sessions[0].engine.seen == []
        plain.close()


async def test_a_command_that_comes_with_the_close_notify_counts(certificate: Certificate) -> None:
    """A client that says QUIT and closes at once has said QUIT: its deletions are carried out."""
    context = server_context(*certificate, "imap")
    async with EchoServer(context, tls="implicit") as server:
        plain = socket.create_connection(("127.0.0.1", server.port))
        client = ssl.create_default_context(cafile=str(certificate[0]))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")

        def speak() -> None:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
            tls.write(b"whole line\r\n")
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            plain.sendall(outgoing.read())

        await asyncio.to_thread(speak)
        await _until(lambda: server.sessions[0].ended == 1)
        assert server.sessions[0].engine.seen == [b"whole line"]
        plain.close()


async def test_the_first_command_may_come_with_the_end_of_the_handshake(certificate: Certificate) -> None:
    """A fast client sends its next command together with its Finished: it is read, by an engine that knows of TLS."""
    context = server_context(*certificate, "imap")
    async with EchoServer(context, tls="starttls") as server:
        plain = socket.create_connection(("127.0.0.1", server.port))
        client = ssl.create_default_context(cafile=str(certificate[0]))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")

        def speak() -> bytes:
            plain.sendall(b"STARTTLS\r\n")
            seen = b""
            while not seen.endswith(b"go\r\n"):
                seen += plain.recv(4096)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
            tls.write(b"TLS?\r\n")
            plain.sendall(outgoing.read())
            while True:
                try:
                    return tls.read(100)
                except ssl.SSLWantReadError:
                    incoming.write(plain.recv(65536))

        assert await asyncio.to_thread(speak) == b"TLSv1.3\r\n"
        plain.close()
