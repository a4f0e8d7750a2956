"""Server contexts that follow their certificate files: a renewed certificate is served without a restart.

Invariants: a pair that does not load leaves the one in use in place, and is logged once.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from postroom.config.settings import TlsVersion
from postroom.net.tls import server_context

_log = structlog.get_logger("postroom.tls")


class Certificates:
    """One context per ALPN name over one certificate."""

    def __init__(self, certificate: Path, key: Path, minimum: TlsVersion) -> None:
        """Loads the pair. Raises OSError or ssl.SSLError."""
        self._certificate = certificate
        self._key = key
        self._minimum = minimum
        self._stamp = self._seen = self._read_stamp()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.context("imap")

    def context(self, alpn: str) -> ssl.SSLContext:
        """The context for one protocol."""
        context = self._contexts.get(alpn)
        if context is None:
            context = self._contexts[alpn] = self._make(alpn)
        return context

    def look(self) -> None:
        """Take up a changed pair; cheap, called now and then."""
        try:
            stamp = self._read_stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            fresh = {alpn: self._make(alpn) for alpn in self._contexts}
        except (OSError, ssl.SSLError) as error:
            _log.error("certificate not loaded, the former one stays in use", reason=str(error))
            return
        self._contexts = fresh
        self._stamp = stamp
        _log.info("certificate loaded", file=str(self._certificate))

    def _make(self, alpn: str) -> ssl.SSLContext:
        context = server_context(self._certificate, self._key, alpn)
        if self._minimum is TlsVersion.TLS_1_3:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def _read_stamp(self) -> tuple[int, ...]:
        certificate, key = self._certificate.stat(), self._key.stat()
        return certificate.st_mtime_ns, certificate.st_ino, key.st_mtime_ns, key.st_ino
