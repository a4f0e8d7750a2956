"""EXTERNAL: whom a client certificate stands for (RFC 4422 appendix A).

Invariants: only names of the kinds that are configured count; the certificate has been verified before anybody asks here.

It must not know: TLS, directories.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from postroom.session.transport import ClientCertificate

MAX_NAMES: Final = 16
"""Names of one certificate that are looked up."""


class CertificateName(StrEnum):
    """Where in a certificate a login is looked for."""

    MAILBOX = "rfc822Name"
    EMAIL = "emailAddress"
    COMMON_NAME = "commonName"


def names_in(certificate: ClientCertificate, kinds: Sequence[CertificateName]) -> list[str]:
    """The names of these kinds, in their order, without repetition."""
    found = {
        CertificateName.MAILBOX: certificate.mailboxes,
        CertificateName.EMAIL: certificate.emails,
        CertificateName.COMMON_NAME: certificate.common_names,
    }
    return list(dict.fromkeys(name for kind in kinds for name in found[kind]))[:MAX_NAMES]
