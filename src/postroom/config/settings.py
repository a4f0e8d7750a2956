"""Every setting of postroom: its type, default, unit, range and meaning.

Purpose: the one place where a setting is stated. The loader, docs/configuration.md and ``postroom config show`` follow.

Invariants: instances are immutable and valid; relative paths have been resolved by the loader; every default is safe:
nothing listens beyond loopback, nothing authenticates in clear, nothing relays for strangers.

It must not know: TOML, the environment, sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from postroom.config.checks import (
    check_address,
    check_delimiter,
    check_hostname,
    check_networks,
    check_rising,
)
from postroom.config.passwords import Auth
from postroom.config.pop3 import Pop3
from postroom.config.sources import Source
from postroom.config.spec import Unit, section, setting
from postroom.config.tokens import Authentication

KIB: Final = 1024
MIB: Final = 1024 * 1024
MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400


class ListenerProtocol(StrEnum):
    """What a listener speaks. ``submission`` is SMTP that asks for authentication (RFC 6409); ``pop2`` (RFC 937) is history,
    ``kpop`` is POP3 behind a Kerberos ticket (docs/kerberos.md): both are served only where a listener is configured for
    them."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    LMTP = "lmtp"
    POP3 = "pop3"
    IMAP = "imap"
    POP2 = "pop2"
    KPOP = "kpop"


class TlsMode(StrEnum):
    """How a connection becomes private: not at all, by a command, or from the first octet."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class TlsVersion(StrEnum):
    """The versions of TLS that can be asked for."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class StorageEngine(StrEnum):
    """Where mail is kept. ``memory`` forgets everything at exit: for tests."""

    SQLITE = "sqlite"
    MEMORY = "memory"


class LogFormat(StrEnum):
    """``auto`` is ``human`` on a terminal and ``json`` otherwise."""

    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important events that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(slots=True, frozen=True, kw_only=True)
class Listener:
    """A socket that accepts connections. Give ``address`` and ``port``, or ``socket`` for a unix socket."""

    protocol: ListenerProtocol = setting(ListenerProtocol.SMTP, "What it speaks.")
    address: str = setting("127.0.0.1", "The IP address to bind.", check=check_address)
    port: int | None = setting(None, "The TCP port to bind.", minimum=1, maximum=65535)
    socket: Path | None = setting(
        None, "A unix socket instead of an address and a port; relative to the data directory."
    )
    tls: TlsMode = setting(
        TlsMode.STARTTLS, "How a connection becomes private. A unix socket takes `none` only."
    )
    cleartext_auth_cidrs: tuple[str, ...] = setting(
        (),
        "Networks from which this listener takes passwords without TLS. Empty: none, and so it should stay; it is meant "
        "for devices that cannot do better, each use is logged.",
        check=check_networks,
    )
    apop: bool = setting(
        False,
        "Whether POP3 here takes APOP (RFC 1939 §7), for users who were given a secret for it by `postroom account secret set`: "
        "where TLS begins with the connection, and from `apop_cidrs`. It is old and weak (MD5).",
    )
    apop_cidrs: tuple[str, ...] = setting(
        (),
        "Networks from which this listener takes APOP without TLS; passwords are not taken from there. For machines that "
        "know nothing better.",
        check=check_networks,
    )
    pop3_legacy: bool = setting(
        False, "Whether POP3 here knows LAST and RPOP, too (RFC 1081, RFC 1225); RPOP lets nobody in."
    )
    pop3_sdps: bool = setting(
        False,
        "Whether POP3 here knows SDPS, too: whoever has the password of a domain's catch-all account logs in as the domain, or "
        "as `user@domain` to see that recipient's mail alone; `*ENV` tells envelopes. From then on such an account keeps a copy "
        "of a message for each of its recipients.",
    )
    pop3_xmit: bool = setting(
        False,
        "Whether POP3 here takes mail to send, too, by `XTND XMIT`: under the rules of submission, with the recipients that "
        "To, Cc and Bcc name.",
    )
    pop3_folders: bool = setting(
        False,
        "Whether POP3 here knows folders, flags and parts, too: an experiment of postroom's own (docs/pop3-folders.md).",
    )
    client_authorities: Path | None = setting(
        None,
        "PEM file with authorities whose certificates prove who a client is (EXTERNAL). Set: clients are asked for one, and may "
        "log in without. The file is watched.",
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Tls:
    """Certificate and versions. The files are watched: a renewed certificate is served without a restart."""

    certificate: Path | None = setting(
        None,
        "PEM file with the certificate and its chain. Unset: `tls/cert.pem` in the data directory, self-signed at the "
        "first start.",
    )
    key: Path | None = setting(
        None, "PEM file with the private key. Unset: `tls/key.pem` in the data directory."
    )
    minimum: TlsVersion = setting(TlsVersion.TLS_1_2, "The oldest version that is accepted.")


@dataclass(slots=True, frozen=True, kw_only=True)
class Limits:
    """What one peer may cost. Reaching a limit is answered in the protocol's words, never by silence."""

    connections_per_ip: int = setting(
        30,
        "Connections at once from one IP address to each worker, three times as many from its network; loopback is exempt.",
        minimum=1,
        maximum=100_000,
    )
    imap_connections_per_user: int = setting(
        20,
        "IMAP connections at once of one user from one IP address to each worker.",
        minimum=1,
        maximum=10_000,
    )
    message_size: int = setting(
        50_000_000,
        "The largest message taken in, by SMTP (SIZE), LMTP or IMAP APPEND (APPENDLIMIT).",
        unit=Unit.OCTETS,
        minimum=64 * KIB,
        maximum=1024 * MIB,
    )
    recipients_unauthenticated: int = setting(
        100,
        "Recipients of one message from a sender that is not authenticated.",
        minimum=100,
        maximum=100_000,
    )
    recipients_authenticated: int = setting(
        1000,
        "Recipients of one message from an authenticated sender, or by LMTP.",
        minimum=100,
        maximum=100_000,
    )
    errors_before_close: int = setting(
        10, "Bad commands in one connection before it is closed.", minimum=1, maximum=1000
    )
    errors_before_auth: int = setting(
        3, "Bad commands before authentication, where a protocol begins with it.", minimum=1, maximum=1000
    )
    smtp_line: int = setting(
        2048,
        "Longest SMTP or LMTP command line; at least the 512 of RFC 5321 §4.5.3.1.4 and what extensions add.",
        unit=Unit.OCTETS,
        minimum=1024,
        maximum=64 * KIB,
    )
    auth_line: int = setting(
        12_288,
        "Longest line of a SASL exchange (RFC 4954 §4), in every protocol.",
        unit=Unit.OCTETS,
        minimum=12_288,
        maximum=64 * KIB,
    )
    pop3_line: int = setting(
        512,
        "Longest POP3 command line; at least the 255 of RFC 2449 §4.",
        unit=Unit.OCTETS,
        minimum=255,
        maximum=64 * KIB,
    )
    tls_handshake: int = setting(
        10, "Time for a TLS handshake, in full.", unit=Unit.SECONDS, minimum=1, maximum=10 * MINUTE
    )
    before_auth: int = setting(
        60,
        "Time in full until a POP3, IMAP or submission client has authenticated.",
        unit=Unit.SECONDS,
        minimum=5,
        maximum=HOUR,
    )
    smtp_idle: int = setting(
        5 * MINUTE,
        "Wait for the next SMTP or LMTP command (RFC 5321 §4.5.3.2.7 asks for 5 minutes).",
        unit=Unit.SECONDS,
        minimum=10,
        maximum=DAY,
    )
    pop3_idle: int = setting(
        10 * MINUTE,
        "Wait for the next POP3 command (RFC 1939 §3 asks for 10 minutes).",
        unit=Unit.SECONDS,
        minimum=10,
        maximum=DAY,
    )
    imap_idle: int = setting(
        31 * MINUTE,
        "Wait for the next IMAP command (RFC 3501 §5.4 asks for 30 minutes; clients renew IDLE every 29).",
        unit=Unit.SECONDS,
        minimum=10,
        maximum=DAY,
    )
    data_minimum_rate: int = setting(
        500,
        "Slowest message data that is waited for, on average.",
        unit=Unit.OCTETS_PER_SECOND,
        minimum=0,
        maximum=MIB,
    )
    write: int = setting(
        120,
        "How long a peer may take nothing of what is sent to it.",
        unit=Unit.SECONDS,
        minimum=5,
        maximum=HOUR,
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Storage:
    """How mail is kept."""

    engine: StorageEngine = setting(StorageEngine.SQLITE, "Where mail is kept.")
    shards: int = setting(
        0,
        "Files that accounts are spread over; fixed when the data directory is made. 0: as many as workers.",
        minimum=0,
        maximum=256,
    )
    inline_blob_limit: int = setting(
        128 * KIB,
        "Messages up to this size are kept in the shard's database, larger ones as files.",
        unit=Unit.OCTETS,
        minimum=0,
        maximum=MIB,
    )
    change_retention: int = setting(
        100_000,
        "Changes of an account that its log reaches back, for clients that return after a while. Older clients compare sets "
        "instead and lose nothing.",
        minimum=1000,
        maximum=100_000_000,
    )
    blob_grace: int = setting(
        DAY,
        "Age at which a file that no message refers to is removed.",
        unit=Unit.SECONDS,
        minimum=HOUR,
        maximum=90 * DAY,
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Delivery:
    """How a message finds its account."""

    recipient_delimiter: str = setting(
        "+",
        "What separates a user from a tag: `user+tag@domain` reaches `user@domain`. Empty turns this off.",
        check=check_delimiter,
    )
    hop_limit: int = setting(
        50,
        "Received header fields at which a message is taken to be looping (RFC 5321 §6.3).",
        minimum=20,
        maximum=500,
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Smarthost:
    """The server that takes mail for other domains. Without one, authenticated users cannot send to foreign domains."""

    host: str = setting(
        "", "Its name or address. Empty: mail for foreign domains is refused.", check=check_hostname
    )
    port: int = setting(587, "Its port.", minimum=1, maximum=65535)
    tls: TlsMode = setting(
        TlsMode.STARTTLS,
        "How the connection becomes private; it is never tried in clear instead. The certificate is verified.",
    )
    certificate_authorities: Path | None = setting(
        None, "PEM file with the authorities that are trusted for it. Unset: those of the system."
    )
    user: str = setting("", "Name to authenticate with. Empty: without authentication.")
    password_file: Path | None = setting(None, "File whose first line is the password.")
    channel_binding: bool = setting(
        False,
        "Whether to log in only where the login can be bound to the connection: with -PLUS of SCRAM and "
        "tls-exporter (RFC 9266), or before TLS 1.3 tls-server-end-point (RFC 5929 §4).",
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Queue:
    """Mail that waits to leave."""

    lifetime: int = setting(
        5 * DAY,
        "Age at which delivery is given up and the sender told (RFC 5321 §4.5.4.1 asks for 4 to 5 days).",
        unit=Unit.SECONDS,
        minimum=HOUR,
        maximum=30 * DAY,
    )
    warn_after: int = setting(
        4 * HOUR,
        "Age at which the sender is told of the delay, once.",
        unit=Unit.SECONDS,
        minimum=MINUTE,
        maximum=30 * DAY,
    )
    retry_schedule: tuple[int, ...] = setting(
        (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
        "Waits between attempts; the last one repeats.",
        unit=Unit.SECONDS,
        minimum=1,
        maximum=7 * DAY,
        check=check_rising,
    )
    connections: int = setting(
        8, "Connections at once from each worker to the smarthost.", minimum=1, maximum=1000
    )
    smarthost: Smarthost = section(Smarthost)


@dataclass(slots=True, frozen=True, kw_only=True)
class Log:
    """What is written about what happens. Neither passwords nor subjects ever are."""

    format: LogFormat = setting(LogFormat.AUTO, "How it is written, to standard error.")
    level: LogLevel = setting(LogLevel.INFO, "The least important events that are written.")


@dataclass(slots=True, frozen=True, kw_only=True)
class Metrics:
    """Prometheus metrics at `/metrics` and the state of health at `/healthz`, over HTTP."""

    enabled: bool = setting(True, "Whether it is served at all.")
    address: str = setting("127.0.0.1", "The IP address to bind.", check=check_address)
    port: int = setting(
        0,
        "The TCP port to bind. 0: `base_port` + 91, or 9125 without a `base_port`.",
        minimum=0,
        maximum=65535,
    )


STANDARD_METRICS_PORT: Final = 9125
METRICS_OFFSET: Final = 91
HIGHEST_BASE_PORT: Final = 65535 - 995


@dataclass(slots=True, frozen=True, kw_only=True)
class Settings:
    """Everything that can be configured."""

    data_dir: Path = setting(
        Path("data"),
        "Where everything is kept. Relative to the configuration file, or to the current directory without one.",
    )
    hostname: str = setting(
        "",
        "The name this server greets with and writes into Received fields. Empty: the machine's own.",
        check=check_hostname,
    )
    base_port: int = setting(
        0,
        "Added to the standard ports (25, 587, 465, 24, 110, 995, 143, 993) where listeners are not configured, so that "
        "20000 serves IMAP on 20143.",
        minimum=0,
        maximum=HIGHEST_BASE_PORT,
    )
    workers: int = setting(0, "Worker processes. 0: the number of cores.", minimum=0, maximum=256)
    user: str = setting(
        "", "The system user to become after the sockets are bound, when started by root. Empty: stay."
    )
    listeners: tuple[Listener, ...] = ()
    collect: tuple[Source, ...] = ()
    tls: Tls = section(Tls)
    limits: Limits = section(Limits)
    auth: Auth = section(Auth)
    authentication: Authentication = section(Authentication)
    storage: Storage = section(Storage)
    delivery: Delivery = section(Delivery)
    queue: Queue = section(Queue)
    pop3: Pop3 = section(Pop3)
    log: Log = section(Log)
    metrics: Metrics = section(Metrics)

    @property
    def metrics_port(self) -> int:
        """The port of the metrics listener, chosen when it was left open."""
        if self.metrics.port:
            return self.metrics.port
        return self.base_port + METRICS_OFFSET if self.base_port else STANDARD_METRICS_PORT


STANDARD_LISTENERS: Final = (
    (ListenerProtocol.SMTP, 25, TlsMode.STARTTLS),
    (ListenerProtocol.SUBMISSION, 587, TlsMode.STARTTLS),
    (ListenerProtocol.SUBMISSION, 465, TlsMode.IMPLICIT),
    (ListenerProtocol.LMTP, 24, TlsMode.NONE),
    (ListenerProtocol.POP3, 110, TlsMode.STARTTLS),
    (ListenerProtocol.POP3, 995, TlsMode.IMPLICIT),
    (ListenerProtocol.IMAP, 143, TlsMode.STARTTLS),
    (ListenerProtocol.IMAP, 993, TlsMode.IMPLICIT),
)
"""Protocol, standard port and security of each listener that a new server has."""


def default_listeners(base_port: int, address: str = "127.0.0.1") -> list[Listener]:
    """Every protocol on its standard port plus ``base_port``, on one address, and LMTP on a unix socket.

    The unix socket is relative to the data directory, as in the configuration.
    """
    listeners = [
        Listener(protocol=protocol, address=address, port=base_port + port, tls=tls)
        for protocol, port, tls in STANDARD_LISTENERS
    ]
    listeners.append(Listener(protocol=ListenerProtocol.LMTP, socket=Path("run/lmtp.sock"), tls=TlsMode.NONE))
    return listeners
