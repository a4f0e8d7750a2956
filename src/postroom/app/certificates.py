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
    """One context per ALPN name and authorities of clients over one certificate."""

    def __init__(self, certificate: Path, key: Path, minimum: TlsVersion, *, exports: bool = False) -> None:
        """Loads the pair; with ``exports`` logins can be bound by tls-exporter. Raises OSError or ssl.SSLError."""
        self._exports = exports
        self._certificate = certificate
        self._key = key
        self._minimum = minimum
        self._contexts: dict[tuple[str, Path | None], ssl.SSLContext] = {}
        self._seen = {path: _stamp(path) for path in (certificate, key)}
        self.context("imap")

    def context(self, alpn: str, authorities: Path | None = None) -> ssl.SSLContext:
        """The context for one protocol; with ``authorities`` it asks clients for their certificates. Raises OSError or
        ssl.SSLError when those do not load."""
        context = self._contexts.get((alpn, authorities))
        if context is None:
            context = self._contexts[alpn, authorities] = self._make(alpn, authorities)
            if authorities is not None:
                self._seen.setdefault(authorities, _stamp(authorities))
        return context

    def look(self) -> None:
        """Take up a changed pair, or changed authorities; cheap, called now and then."""
        try:
            seen = {path: _stamp(path) for path in self._seen}
            if seen == self._seen:
                return
            self._seen = seen
            fresh = {key: self._make(*key) for key in self._contexts}
        except (OSError, ssl.SSLError) as error:
            _log.error("certificate not loaded, the former one stays in use", reason=str(error))
            return
        self._contexts = fresh
        _log.info("certificate loaded", file=str(self._certificate))

    def _make(self, alpn: str, authorities: Path | None = None) -> ssl.SSLContext:
        context = server_context(self._certificate, self._key, alpn, authorities, exports=self._exports)
        if self._minimum is TlsVersion.TLS_1_3:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
