"""Certificates for tests: an authority and what it signs, as files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)
Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Authority:
    """Signs certificates into files of ``folder``."""

    folder: Path
    name: str = "authority"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.file = self.folder / f"{self.name}.pem"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        self.certificate = (
            self._builder(subject, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def client(
        self,
        *mailboxes: str,
        common_name: str = "A client",
        email: str = "",
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        expired: bool = False,
    ) -> tuple[Path, Path]:
        """Certificate and key of a client."""
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if email:
            attributes.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, email))
        return self._issue(attributes, list(map(x509.RFC822Name, mailboxes)), purpose, expired)

    def server(self, *, key: PrivateKey | None = None, hashed: Hash | None = None) -> tuple[Path, Path]:
        """Certificate and key of localhost, self-signed where it has a ``key`` of its own; ``hashed`` by this algorithm."""
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]
        names = [x509.DNSName("localhost")]
        return self._issue(attributes, names, ExtendedKeyUsageOID.SERVER_AUTH, False, key, hashed)

    def _issue(
        self,
        attributes: list[x509.NameAttribute[str]],
        names: Sequence[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        expired: bool,
        own: PrivateKey | None = None,
        hashed: Hash | None = None,
    ) -> tuple[Path, Path]:
        key = own or ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name(attributes), key, expired=expired, own=own is not None)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if isinstance(own, ed25519.Ed25519PrivateKey):
            made = builder.sign(own, None)
        else:
            made = builder.sign(own or self.key, hashed or hashes.SHA256())
        stem = f"{made.serial_number:x}"
        certificate, secret = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, secret

    def _builder(
        self, subject: x509.Name, key: PrivateKey, *, expired: bool = False, own: bool = True
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if own else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * _DAY)
            .not_valid_after(now - _DAY if expired else now + 3 * _DAY)
        )
