"""The settings of mailboxes on other servers that ``postroom collect`` fetches from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from postroom.config.checks import check_field_names, check_fields, check_hostname, check_token_url
from postroom.config.spec import Unit, setting


class SourceProtocol(StrEnum):
    """What the other server speaks."""

    POP3 = "pop3"
    IMAP = "imap"


class SourceTls(StrEnum):
    """How the connection becomes private; nothing is ever tried in clear instead."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(slots=True, frozen=True, kw_only=True)
class Source:
    """A mailbox on another server, for `postroom collect`. What is fetched once is never fetched again."""

    name: str = setting(
        "", "What it is called here, for ever: by this name postroom knows what it has fetched already."
    )
    account: str = setting("", "The account here that gets the mail.")
    mailbox: str = setting("INBOX", "The mailbox for it; made when it is missing.")
    protocol: SourceProtocol = setting(SourceProtocol.POP3, "What the other server speaks.")
    host: str = setting("", "The other server's name or address.", check=check_hostname)
    port: int = setting(
        0, "Its port. 0: the standard one of protocol and security.", minimum=0, maximum=65535
    )
    tls: SourceTls = setting(
        SourceTls.IMPLICIT, "How the connection becomes private. The certificate is verified."
    )
    certificate_authorities: Path | None = setting(
        None, "PEM file with the authorities that are trusted for it. Unset: those of the system."
    )
    user: str = setting("", "The login name over there.")
    password_file: Path | None = setting(None, "File whose first line is the password.")
    password_in_clear: bool = setting(
        False,
        "Whether the password may be shown to the server without TLS. Only for machines next to each other.",
    )
    channel_binding: bool = setting(
        False,
        "Whether to log in only where the login can be bound to the connection: with -PLUS of SCRAM and "
        "tls-exporter (RFC 9266), or before TLS 1.3 tls-server-end-point (RFC 5929 §4), which the "
        "server must have. Whoever is between then gains nothing, even with a "
        "certificate that is trusted.",
    )
    digest: bool = setting(
        False,
        "Whether to show only a digest of the password, by CRAM-MD5 (RFC 2195) or POP3's APOP (RFC 1939 §7), in this order: for "
        "servers that know no SCRAM but must not see it. APOP needs a timestamp in a greeting that TLS protects. "
        "The digest is enough to try passwords on, so without TLS it needs `password_in_clear`, too.",
    )
    kerberos: bool = setting(
        False,
        "Whether to log in with a Kerberos ticket (GSSAPI, RFC 4752) instead of a password: one of the cache that `KRB5CCNAME` "
        "names. `password_file` is not needed then; see docs/kerberos.md.",
    )
    folder: str = setting("INBOX", "The mailbox over there; POP3 has only one.")
    keep: bool = setting(True, "Whether the mail stays over there.")
    delete_after: int = setting(
        0,
        "With `keep = false`: age since it was fetched at which mail is deleted over there. 0: at once.",
        unit=Unit.SECONDS,
        minimum=0,
        maximum=3650 * 86_400,
    )
    largest: int = setting(
        0, "Messages above this size stay over there. 0: `limits.message_size`.", unit=Unit.OCTETS, minimum=0
    )
    leave_out: tuple[str, ...] = setting(
        (),
        'Header fields of messages that are not wanted, such as `"X-Spam-Flag: YES"`: the text may stand anywhere in the '
        "field.",
        check=check_fields,
    )
    oauth_token_url: str = setting(
        "",
        "Where access tokens are issued (RFC 6749 §6): `password_file` holds a refresh token then, and the login is by "
        "OAUTHBEARER or XOAUTH2. `certificate_authorities` are trusted for it too.",
        check=check_token_url,
    )
    oauth_client: str = setting("", "The client's identifier at `oauth_token_url`.")
    oauth_client_secret_file: Path | None = setting(
        None, "File whose first line is the client's secret, if it has one."
    )
    oauth_scope: str = setting("", "The scope to ask for. Empty: what the refresh token was issued for.")
    multidrop: tuple[str, ...] = setting(
        (),
        'Header fields in which the other server has noted for whom a message was, such as `"Delivered-To"`, '
        '`"X-Original-To"` or `"Envelope-To"`: for a mailbox that gets the mail of a whole domain. From the top, the first such '
        "field that names somebody here decides; everything else goes to `account`. "
        '`"*ENV"` among them asks the other server first (POP3 with SDPS).',
        check=check_field_names,
    )
    interval: int = setting(
        0,
        "How often a running server collects. 0: only the command does. By IMAP the session stays open in between, and new "
        "mail is fetched as soon as the other server tells of it (IDLE).",
        unit=Unit.SECONDS,
        minimum=0,
        maximum=30 * 86_400,
    )

    @property
    def standard_port(self) -> int:
        """The port, chosen when it was left open."""
        if self.port:
            return self.port
        implicit = self.tls is SourceTls.IMPLICIT
        if self.protocol is SourceProtocol.POP3:
            return 995 if implicit else 110
        return 993 if implicit else 143
