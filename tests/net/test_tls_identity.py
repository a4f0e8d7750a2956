"""Who is at the ends of a TLS connection: clients' certificates, and what binds a login to the server's."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from postroom.app.certificates import Certificates
from postroom.config.settings import TlsVersion
from postroom.net import exporter
from postroom.net.tls import TlsFailure, TlsFilter, client_context, server_context
from postroom.session.transport import ClientCertificate
from tests.support.pki import Authority, Hash


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shaken(
    server: ssl.SSLContext,
    trusted: Path,
    shown: tuple[Path, Path] | None = None,
    *,
    newest: bool = True,
    exports: bool = False,
) -> tuple[TlsFilter, TlsFilter]:
    """Client and server after their handshake. Raises TlsFailure when the server refuses it."""
    context = client_context(trusted, exports=exports)
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if shown is not None:
        context.load_cert_chain(*shown)
    client, serving = (
        TlsFilter(context, server=False, server_hostname="localhost"),
        TlsFilter(server, server=True, alpn="imap"),
    )
    client.start()
    for _ in range(4):
        assert serving.receive(client.to_send()) == b""
        assert client.receive(serving.to_send()) == b""
    assert client.established
    assert serving.established
    return client, serving


@pytest.mark.parametrize("newest", [True, False])
def test_the_names_of_a_client(authority: Authority, newest: bool) -> None:
    context = server_context(*authority.server(), "imap", authority.file)
    shown = authority.client("a@example.org", "b@example.org", common_name="alice", email="c@example.org")
    _, server = shaken(context, authority.file, shown, newest=newest)
    assert server.info().certificate == ClientCertificate(
        ("a@example.org", "b@example.org"), ("c@example.org",), ("alice",)
    )
    _, server = shaken(context, authority.file, newest=newest)
    assert server.info().certificate is None


def test_nobody_is_asked_without_authorities(authority: Authority) -> None:
    context = server_context(*authority.server(), "imap")
    client, server = shaken(context, authority.file, authority.client("a@example.org"))
    assert server.info().certificate is None
    assert client.info().certificate is None, "the server's is none of a client"


@pytest.mark.parametrize("newest", [True, False])
def test_certificates_that_end_the_handshake(authority: Authority, tmp_path: Path, newest: bool) -> None:
    context = server_context(*authority.server(), "imap", authority.file)
    stranger = Authority(tmp_path, "stranger")
    same_name = tmp_path / "other"
    same_name.mkdir()
    for shown in (
        stranger.client("a@example.org"),
        Authority(same_name).client("a@example.org"),
        authority.client("a@example.org", expired=True),
        authority.client("a@example.org", purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        authority.server(key=ec.generate_private_key(ec.SECP256R1())),
    ):
        with pytest.raises(TlsFailure, match=r"(?i)verify"):
            shaken(context, authority.file, shown, newest=newest)


# --- tls-server-end-point


@pytest.mark.parametrize(
    ("hashed", "name"),
    [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")],
)
def test_both_ends_hash_the_same_certificate(authority: Authority, hashed: Hash, name: str) -> None:
    """RFC 5929 §4.1: with the hash of the certificate's signature."""
    files = authority.server(key=ec.generate_private_key(ec.SECP256R1()), hashed=hashed)
    # A chain behind it changes nothing.
    files[0].write_bytes(files[0].read_bytes() + authority.file.read_bytes())
    client, server = shaken(server_context(*files, "imap"), files[0])
    der = ssl.PEM_cert_to_DER_cert(files[0].read_text().partition("-----BEGIN")[1] + files[0].read_text().partition(
        "-----BEGIN")[2].partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----")  # fmt: skip
    expected = hashlib.new(name, der).digest()
    assert server.info().end_point == client.info().end_point == expected
    assert server.info().bindings == {"tls-server-end-point": expected}


def test_an_undefined_end_point_is_none(authority: Authority) -> None:
    files = authority.server(key=ed25519.Ed25519PrivateKey.generate())
    client, server = shaken(server_context(*files, "imap"), files[0])
    assert server.info().end_point is client.info().end_point is None
    assert server.info().bindings == {}


# --- tls-exporter


def test_both_ends_export_the_same(authority: Authority) -> None:
    """RFC 9266 §2: 32 octets, others for each connection; the best of the bindings."""
    files = authority.server()
    context = server_context(*files, "imap", exports=True)
    found = set()
    for _ in range(3):
        client, server = shaken(context, authority.file, exports=True)
        ours, theirs = server.info(), client.info()
        assert ours.exporter == theirs.exporter
        assert ours.exporter is not None
        assert len(ours.exporter) == 32
        assert list(ours.bindings) == ["tls-exporter", "tls-server-end-point"]
        found.add(ours.exporter)
    assert len(found) == 3


def test_connections_that_shake_hands_at_once_are_not_mixed_up(authority: Authority) -> None:
    files = authority.server()
    trusting, serving = (
        client_context(authority.file, exports=True),
        server_context(*files, "imap", exports=True),
    )
    pairs = [
        (
            TlsFilter(trusting, server=False, server_hostname="localhost"),
            TlsFilter(serving, server=True, alpn="imap"),
        )
        for _ in range(5)
    ]
    for client, _ in pairs:
        client.start()
    for _ in range(4):
        for client, server in pairs:
            server.receive(client.to_send())
        for client, server in reversed(pairs):
            client.receive(server.to_send())
    found = [server.info().exporter for _, server in pairs]
    assert found == [client.info().exporter for client, _ in pairs]
    assert len(set(found)) == 5
    assert None not in found


@pytest.mark.parametrize(("newest", "exports"), [(False, True), (True, False)])
def test_nothing_is_exported_before_tls_1_3_or_where_it_is_not_wanted(
    authority: Authority, newest: bool, exports: bool
) -> None:
    files = authority.server()
    client, server = shaken(
        server_context(*files, "imap", exports=exports), authority.file, newest=newest, exports=exports
    )
    assert server.info().exporter is client.info().exporter is None


def test_failed_handshakes_leave_nothing_for_long(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "MOST_OCTETS", 10_000)
    files = authority.server()
    context = server_context(*files, "imap", exports=True)
    log = exporter.key_log(server=True)
    assert log is not None
    for _ in range(60):
        client = TlsFilter(client_context(authority.file), server=False, server_hostname="elsewhere")
        server = TlsFilter(context, server=True, alpn="imap")
        client.start()
        server.receive(client.to_send())
        with pytest.raises(TlsFailure):
            client.receive(server.to_send())
        with pytest.raises(TlsFailure):
            server.receive(client.to_send())
        assert os.fstat(log._descriptor).st_size < 20_000
    assert log.take(b"") is None
    assert os.fstat(log._descriptor).st_size == 0


def test_openssl_exports_the_same(authority: Authority) -> None:
    """``openssl s_client`` prints what it exports."""
    files = authority.server()
    context = server_context(*files, "imap", exports=True)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        command = [
            "openssl", "s_client", "-connect", f"127.0.0.1:{listening.getsockname()[1]}", "-CAfile", str(files[0]),
            "-keymatexport", exporter.LABEL.decode(), "-keymatexportlen", "32", "-no_ign_eof",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as client:
            accepted, _ = listening.accept()
            server = TlsFilter(context, server=True, alpn="imap")
            with accepted:
                accepted.settimeout(20)
                while not server.established:
                    server.receive(accepted.recv(1 << 16))
                    accepted.sendall(server.to_send())
                server.write(b"hello\r\n")
                accepted.sendall(server.to_send())
                said, _ = client.communicate(b"Q\n", timeout=20)
    exported = server.info().exporter
    assert exported is not None
    told = re.search(rb"Keying material: ([0-9A-F]+)", said)
    assert told is not None, said
    assert bytes.fromhex(told[1].decode()) == exported


# --- files that change


def test_contexts_follow_certificate_and_authorities(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.server()
    certificates = Certificates(certificate, key, TlsVersion.TLS_1_2)
    watched = tmp_path / "clients.pem"
    watched.write_bytes(authority.file.read_bytes())
    shown, first = authority.client("a@example.org"), certificates.context("imap", watched)
    assert certificates.context("imap") is not first
    assert certificates.context("imap", watched) is first
    assert shaken(first, authority.file, shown)[1].info().certificate is not None
    certificates.look()
    assert certificates.context("imap", watched) is first
    stranger = Authority(tmp_path, "stranger")
    watched.write_bytes(b"nothing")
    os.utime(watched, (1, 1))
    certificates.look()
    assert certificates.context("imap", watched) is first, "what does not load changes nothing"
    watched.write_bytes(stranger.file.read_bytes())
    os.utime(watched, (2, 2))
    certificates.look()
    second = certificates.context("imap", watched)
    with pytest.raises(TlsFailure):
        shaken(second, authority.file, shown)
    assert shaken(second, authority.file, stranger.client("b@x"))[1].info().certificate is not None
    with pytest.raises(FileNotFoundError):
        certificates.context("imap", tmp_path / "missing")
