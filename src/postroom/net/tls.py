"""TLS as a filter between octets received and octets understood, on ``ssl.MemoryBIO``.

Purpose: what asyncio's own TLS does not give (see docs/decisions/0008-tls-on-memory-bios.md):
- no octet received before the handshake is ever read after it, by construction: the filter starts empty;
- strict ALPN: an offer without our protocol is refused with alert 120, absence is allowed (RFC 7301 §3.2);
- little memory for an idle connection: decryption goes through one buffer shared by the whole worker.

Invariants: after a close_notify, an error or the end of input, no plaintext passes in either direction: the connection
is dead, it never falls back to clear.

It must not know: sockets, the event loop, protocols other than by their ALPN name.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any, Final, cast

from postroom.net.clienthello import (
    INCOMPLETE,
    MAX_HELLO,
    NO_APPLICATION_PROTOCOL,
    ClientHello,
    parse_client_hello,
)
from postroom.net.exporter import KeyLog, attach, channel_binding
from postroom.session.transport import ClientCertificate, TlsInfo

_RECORD: Final = 1 << 14
_SHARED: Final = bytearray(_RECORD)
"""Plaintext passes through here on its way to an exact-sized bytes; one worker is one thread, so one buffer is enough."""
_SHARED_VIEW: Final = memoryview(_SHARED)

# RFC 9325 §4.2 and Mozilla's "intermediate": ECDHE with AEAD only; TLS 1.3 suites are OpenSSL's own.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsFailure(ConnectionError):
    """The handshake or a record failed; the waiting output (an alert) should be sent, then the connection closed."""


class ServerContext(ssl.SSLContext):
    """A context that knows what its certificate binds channels to: ``end_point`` (RFC 5929 §4), None where undefined."""

    end_point: bytes | None = None
    exports: KeyLog | None = None
    """Where secrets for tls-exporter (RFC 9266) come from, if that is wanted and possible."""


class ClientContext(ssl.SSLContext):
    """A context of a client that binds logins to its connections."""

    exports: KeyLog | None = None


def server_context(
    certificate: Path, key: Path, alpn: str, authorities: Path | None = None, *, exports: bool = False
) -> ServerContext:
    """A context for one protocol: TLS 1.2 and later, no renegotiation, no compression, ALPN ``alpn``; with ``exports`` logins can
    be bound to its connections by tls-exporter.

    With ``authorities`` clients are asked for a certificate, which they need not have, but which must be one of these
    authorities' for TLS clients. Raises OSError or ssl.SSLError when the files are missing or do not fit together.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([alpn])
    context.num_tickets = 1
    context.load_cert_chain(certificate, key)
    context.end_point = end_point(ssl.PEM_cert_to_DER_cert(_first_certificate(certificate)))
    context.exports = attach(context, server=True) if exports else None
    if authorities is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authorities)
        # A resumed session would not verify the certificate again.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def _first_certificate(path: Path) -> str:
    """The server's own: the chain follows it."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    text = path.read_text("ascii", "replace")
    return begin + text.partition(begin)[2].partition(end)[0] + end


def end_point(der: bytes) -> bytes | None:
    """tls-server-end-point of a server's certificate (RFC 5929 §4.1): its hash, by the hash of its signature's algorithm,
    SHA-256 in place of MD5 and SHA-1; None where that names none (Ed25519)."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    return hashlib.new("sha256" if algorithm.name in ("md5", "sha1") else algorithm.name, der).digest()


def client_context(
    ca_file: Path | None = None, *, verify: bool = True, exports: bool = False
) -> ssl.SSLContext:
    """A context for connections we open: TLS 1.2 and later, names and chains verified unless ``verify`` is False; with
    ``exports`` logins can be bound to its connections by tls-exporter."""
    if exports:
        context: ssl.SSLContext = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
        if ca_file:
            context.load_verify_locations(str(ca_file))
        else:
            context.load_default_certs()
        assert isinstance(context, ClientContext)
        context.exports = attach(context, server=False)
    else:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class TlsFilter:
    """One TLS connection without a socket: ciphertext in by ``receive``, ciphertext out by ``to_send``."""

    __slots__ = (
        "_alpn", "_flight", "_hello", "_incoming", "_object", "_outgoing", "_server", "closed", "established",
    )  # fmt: skip

    def __init__(
        self, context: ssl.SSLContext, *, server: bool, alpn: str = "", server_hostname: str | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server, server_hostname=server_hostname
        )
        self._server = server
        self._alpn = alpn
        self._flight = b""
        self._hello: ClientHello | None = None
        self.established = False
        self.closed = False
        """Whether the peer's close_notify was read: what it sent before has been given out, nothing behind it counts."""

    def start(self) -> None:
        """Client side: put the first flight into the output."""
        self._handshake()
        if self._exports is not None:
            flight = self._outgoing.read()
            self._outgoing.write(flight)
            hello = parse_client_hello(flight)
            self._hello = hello if isinstance(hello, ClientHello) else None

    def receive(self, ciphertext: bytes) -> bytes:
        """Take octets from the network, give the plaintext they complete (often empty while shaking hands).

        Raises TlsFailure on any error and on an orderly close; ``to_send`` may then hold an alert.
        """
        if self._server and self._hello is None:
            self._flight += ciphertext
            if not self._look_at_hello():
                return b""
            ciphertext, self._flight = self._flight, b""
        self._incoming.write(ciphertext)
        if not self.established and not self._handshake():
            return b""
        return self._read()

    def write(self, plaintext: bytes) -> None:
        """Encrypt; the result waits in ``to_send``. Raises TlsFailure."""
        if not plaintext:
            return
        try:
            self._object.write(plaintext)
        except ssl.SSLError as error:
            raise TlsFailure(_reason(error)) from error

    def to_send(self) -> bytes:
        """Take the ciphertext that waits to be sent."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def close(self) -> bytes:
        """The close_notify to send last, as far as it can be made (RFC 8446 §6.1)."""
        try:
            self._object.unwrap()
        except (ssl.SSLError, ValueError):
            # The peer's own close_notify is not waited for: the connection is closed right after.
            return self.to_send()
        return self.to_send()

    def info(self) -> TlsInfo:
        """What was negotiated; only after ``established``."""
        cipher = self._object.cipher()
        name = cipher[0] if cipher else ""
        return TlsInfo(
            version=self._object.version() or "",
            cipher=name,
            alpn=self._object.selected_alpn_protocol(),
            server_name=self._hello.server_name if self._hello else None,
            exporter=self._exporter(name),
            end_point=self._end_point(),
            certificate=self._client_certificate() if self._server else None,
        )

    @property
    def _exports(self) -> KeyLog | None:
        context = self._object.context
        return context.exports if isinstance(context, ServerContext | ClientContext) else None

    def _exporter(self, cipher: str) -> bytes | None:
        exports = self._exports
        if exports is None or self._hello is None:
            return None
        secret = exports.take(self._hello.random)
        return channel_binding(secret, cipher) if secret is not None else None

    def _end_point(self) -> bytes | None:
        if self._server:
            context = self._object.context
            return context.end_point if isinstance(context, ServerContext) else None
        der = self._object.getpeercert(binary_form=True)
        return end_point(der) if der else None

    def _client_certificate(self) -> ClientCertificate | None:
        """Of the names alone; OpenSSL has verified the certificate, or there is none."""
        if self._object.context.verify_mode is ssl.CERT_NONE:
            return None
        found = cast("dict[str, Any] | None", self._object.getpeercert())
        if not found:
            return None
        subject = [pair for relative in found.get("subject", ()) for pair in relative]
        return ClientCertificate(
            mailboxes=tuple(name for kind, name in found.get("subjectAltName", ()) if kind == "email"),
            emails=tuple(name for kind, name in subject if kind == "emailAddress"),
            common_names=tuple(name for kind, name in subject if kind == "commonName"),
        )

    def _look_at_hello(self) -> bool:
        hello = parse_client_hello(self._flight)
        if hello is INCOMPLETE:
            if len(self._flight) > 2 * MAX_HELLO:
                raise TlsFailure("ClientHello too long")
            return False
        assert isinstance(hello, ClientHello)
        if not hello.valid:
            raise TlsFailure("not a TLS ClientHello")
        if hello.alpn is not None and self._alpn not in hello.alpn:
            self._outgoing.write(NO_APPLICATION_PROTOCOL)
            raise TlsFailure("no common application protocol (ALPN)")
        self._hello = hello
        return True

    def _handshake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            if self._exports is not None:
                self._exports.bound()
            raise TlsFailure(_reason(error)) from error
        except ssl.CertificateError as error:
            raise TlsFailure(str(error)) from error
        self.established = True
        return True

    def _read(self) -> bytes:
        pieces: list[bytes] = []
        read = self._object.read
        while True:
            try:
                # With a buffer the call returns how much it wrote; typeshed knows only the form that returns octets.
                count = cast("int", read(_RECORD, _SHARED))
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                count = 0
            except ssl.SSLError as error:
                raise TlsFailure(_reason(error)) from error
            if not count:
                self.closed = True
                if pieces:
                    # Octets in front of the close_notify are still the peer's (RFC 8446 §6.1); the caller then ends.
                    break
                raise TlsFailure("closed by the peer")
            pieces.append(bytes(_SHARED_VIEW[:count]))
            if not self._incoming.pending and not self._object.pending():
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _reason(error: ssl.SSLError) -> str:
    return error.reason or str(error)
