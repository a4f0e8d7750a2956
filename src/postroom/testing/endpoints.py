"""Where a server in a test is reached: the same names for every kind of it.

It must not know: how a server runs.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

LOOPBACK: Final = "127.0.0.1"


class Endpoint(NamedTuple):
    """Where a protocol is served; fits ``smtplib.SMTP(*endpoint)``."""

    host: str
    port: int


class Endpoints(ABC):
    """What follows from ``ports`` and ``certificate``."""

    @property
    @abstractmethod
    def ports(self) -> Mapping[str, int]:
        """Ports by name."""

    @property
    @abstractmethod
    def certificate(self) -> Path:
        """PEM file with the certificate. Raises LookupError without TLS."""

    def client_context(self) -> ssl.SSLContext:
        """A client's TLS context that trusts this server and no other. Raises LookupError without TLS."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def endpoint(self, name: str) -> Endpoint:
        """Host and port of one of ``ports``. Raises LookupError."""
        ports = self.ports
        if name not in ports:
            raise LookupError(f"{name} is not served; there is {', '.join(ports) or 'nothing'}")
        return Endpoint(LOOPBACK, ports[name])

    @property
    def smtp(self) -> Endpoint:
        """Mail from other servers, for the domains here (port 25)."""
        return self.endpoint("smtp")

    @property
    def submission(self) -> Endpoint:
        """Mail from accounts here, for anyone; asks for a login (port 587)."""
        return self.endpoint("submission")

    @property
    def lmtp(self) -> Endpoint:
        """Mail with a reply for each recipient (RFC 2033)."""
        return self.endpoint("lmtp")

    @property
    def pop3(self) -> Endpoint:
        """POP3 (port 110)."""
        return self.endpoint("pop3")

    @property
    def imap(self) -> Endpoint:
        """IMAP (port 143)."""
        return self.endpoint("imap")

    @property
    def submissions(self) -> Endpoint:
        """Submission over TLS from the first octet (port 465). Raises LookupError without TLS, as do the next two."""
        return self.endpoint("submissions")

    @property
    def pop3s(self) -> Endpoint:
        """POP3 over TLS (port 995)."""
        return self.endpoint("pop3s")

    @property
    def imaps(self) -> Endpoint:
        """IMAP over TLS (port 993)."""
        return self.endpoint("imaps")
