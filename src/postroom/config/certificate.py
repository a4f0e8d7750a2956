"""The certificate of a new server: self-signed, so that TLS works from the first minute.

Invariants: only a certificate that this module made is ever replaced; its key stays the same from one to the next, so
that a client that trusts the key goes on doing so; both files are for their owner alone.

P-256, because its handshakes cost half of RSA-2048's. 820 days, because Apple's systems refuse server certificates of
more than 825 days even when the user trusts them; it is renewed at a start in its last 60 days.

It must not know: settings, listeners. ``now`` is passed in.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from postroom.config.private_file import write_private

LIFETIME: Final = timedelta(days=820)
RENEWAL: Final = timedelta(days=60)
CLOCK_SKEW: Final = timedelta(days=1)
ORGANISATION: Final = "postroom self-signed"
"""Marks the certificates that may be replaced."""


class CertificateUnusable(Exception):
    """A certificate or key that exists but cannot be used, with a sentence for the administrator."""


def ensure_certificate(certificate: Path, key: Path, hostname: str, now: datetime) -> bool:
    """Make or renew the self-signed certificate where that is ours to do; returns whether a file was written.

    A certificate that someone else made is left alone. Raises CertificateUnusable, OSError.
    """
    present = _read_certificate(certificate)
    if present is not None and not _is_ours(present):
        if not key.exists():
            raise CertificateUnusable(f"{certificate} has no key: {key} is missing")
        return False
    private_key = _read_key(key)
    if present is not None and private_key is not None and _serves(present, private_key, hostname, now):
        return False
    if private_key is None:
        private_key = ec.generate_private_key(ec.SECP256R1())
        write_private(key, _key_octets(private_key))
    made = self_signed(private_key, hostname, now)
    write_private(certificate, made.public_bytes(serialization.Encoding.PEM))
    return True


def self_signed(key: ec.EllipticCurvePrivateKey, hostname: str, now: datetime) -> x509.Certificate:
    """A certificate for ``hostname``, localhost and the loopback addresses."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64]),
        ]
    )
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in dict.fromkeys((hostname, "localhost"))]
    names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate as mail programs show it: pairs of hex digits. Raises CertificateUnusable, OSError."""
    present = _read_certificate(certificate)
    if present is None:
        raise CertificateUnusable(f"{certificate} does not exist")
    return present.fingerprint(hashes.SHA256()).hex(":").upper()


def _read_certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise CertificateUnusable(f"{path} is not a PEM certificate") from None


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        octets = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        key = serialization.load_pem_private_key(octets, password=None)
    except (ValueError, TypeError):
        raise CertificateUnusable(f"{path} is not a PEM private key without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateUnusable(f"{path} is not the key of a self-signed certificate made here")
    return key


def _key_octets(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _is_ours(certificate: x509.Certificate) -> bool:
    organisations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return certificate.issuer == certificate.subject and [each.value for each in organisations] == [
        ORGANISATION
    ]


def _serves(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, hostname: str, now: datetime
) -> bool:
    """Whether the certificate fits the key and the name and is not about to end."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        certificate.public_key() == key.public_key()
        and hostname in names.get_values_for_type(x509.DNSName)
        and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEWAL
    )
