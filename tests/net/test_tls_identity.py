"""Who is at the ends of a TLS connection: clients' certificates, and what binds a login to the server's."""

from __future__ import annotations

import hashlib
import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from postroom.app.certificates import Certificates
from postroom.config.settings import TlsVersion
from postroom.net.tls import TlsFailure, TlsFilter, client_context, server_context
from postroom.session.transport import ClientCertificate
from tests.support.pki import Authority, Hash


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shaken(
    server: ssl.SSLContext, trusted: Path, shown: tuple[Path, Path] | None = None, *, newest: bool = True
) -> tuple[TlsFilter, TlsFilter]:
    """Client and server after their handshake. Raises TlsFailure when the server refuses it."""
    context = client_context(trusted)
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
