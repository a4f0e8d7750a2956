"""The certificate of a new server."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from postroom.config.certificate import (
    LIFETIME,
    CertificateUnusable,
    ensure_certificate,
    fingerprint,
    self_signed,
)
from postroom.config.private_file import write_private

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def public_key(path: Path) -> bytes:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_made_once_for_the_owner_alone(files: tuple[Path, Path]) -> None:
    certificate, key = files
    assert ensure_certificate(certificate, key, "mail.example.test", NOW)
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}
    before = certificate.read_bytes()
    assert not ensure_certificate(certificate, key, "mail.example.test", NOW + timedelta(days=300))
    assert certificate.read_bytes() == before
    assert sorted(each.name for each in certificate.parent.iterdir()) == ["cert.pem", "key.pem"]


def test_a_client_that_trusts_it_accepts_every_name(files: tuple[Path, Path]) -> None:
    certificate, key = files
    ensure_certificate(certificate, key, "mail.example.test", NOW)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    for name in ("mail.example.test", "localhost", "127.0.0.1", "::1"):
        client = ssl.create_default_context(cafile=str(certificate))
        ours, theirs = socket.socketpair()
        with ours, theirs:

            def serve(end: socket.socket = theirs) -> None:
                with server.wrap_socket(end, server_side=True) as stream:
                    stream.sendall(b"hello")

            thread = threading.Thread(target=serve)
            thread.start()
            with client.wrap_socket(ours, server_hostname=name) as stream:
                assert stream.recv(5) == b"hello"
            thread.join()


def test_renewed_before_its_end_with_the_same_key(files: tuple[Path, Path]) -> None:
    certificate, key = files
    ensure_certificate(certificate, key, "mail.example.test", NOW)
    before, print_before = public_key(certificate), fingerprint(certificate)
    assert ensure_certificate(certificate, key, "mail.example.test", NOW + LIFETIME - timedelta(days=59))
    assert public_key(certificate) == before
    assert fingerprint(certificate) != print_before


def test_renewed_for_another_name_or_without_its_key(files: tuple[Path, Path]) -> None:
    certificate, key = files
    ensure_certificate(certificate, key, "a.example.test", NOW)
    assert ensure_certificate(certificate, key, "b.example.test", NOW)
    before = public_key(certificate)
    key.unlink()
    assert ensure_certificate(certificate, key, "b.example.test", NOW)
    assert public_key(certificate) != before


def test_someone_elses_certificate_is_left_alone(files: tuple[Path, Path]) -> None:
    certificate, key = files
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])
    other = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=10))
        .not_valid_after(NOW - timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(other.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(CertificateUnusable, match="no key"):
        ensure_certificate(certificate, key, "mail.example.test", NOW)
    key.write_bytes(b"whatever")
    assert not ensure_certificate(certificate, key, "mail.example.test", NOW)
    assert certificate.read_bytes() == other.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("broken", ["cert.pem", "key.pem"])
def test_garbage_is_reported_not_replaced(files: tuple[Path, Path], broken: str) -> None:
    certificate, key = files
    (certificate.parent / broken).write_bytes(b"-----BEGIN NONSENSE-----\n")
    with pytest.raises(CertificateUnusable, match=broken):
        ensure_certificate(certificate, key, "mail.example.test", NOW)
    assert (certificate.parent / broken).read_bytes() == b"-----BEGIN NONSENSE-----\n"


def test_a_long_host_name_still_fits(files: tuple[Path, Path]) -> None:
    name = ".".join(["a" * 60] * 4)
    made = self_signed(ec.generate_private_key(ec.SECP256R1()), name, NOW)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in names.get_values_for_type(x509.DNSName)


def test_write_private_leaves_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    write_private(path, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk on fire"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]
