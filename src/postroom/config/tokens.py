"""The settings of bearer tokens and client certificates: who vouches for users besides their passwords.

Invariants: nothing of it is on unless it is configured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from postroom.config.kerberos import Kerberos
from postroom.config.spec import Unit, section, setting
from postroom.session.external import CertificateName

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip


def check_url(value: str) -> None:
    """https, or http to this machine; or empty."""
    if not value:
        return
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must be a URL") from None
    if parts.scheme not in ("https", "http") or not host or not value.isascii() or " " in value:
        raise ValueError('must be a URL such as "https://id.example.org/introspect"')
    if parts.username is not None or parts.fragment:
        raise ValueError("must be a URL without a user or a fragment")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must begin with https:// (http:// is for this machine alone)")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_algorithms(value: tuple[str, ...]) -> None:
    """Asymmetric ones: with a shared secret whoever verifies could sign, and ``none`` is no signature."""
    if not value or not set(value) <= set(ALGORITHMS):
        raise ValueError("must hold some of " + ", ".join(ALGORITHMS))


def check_certificate_names(value: tuple[str, ...]) -> None:
    """Kinds of names."""
    if not value or not set(value) <= set(CertificateName):
        raise ValueError("must hold some of " + ", ".join(CertificateName))


def check_claim(value: str) -> None:
    """The name of a claim."""
    if not value:
        raise ValueError("must name a claim")


def check_scope(value: str) -> None:
    """One scope-token (RFC 6749 §3.3), or none."""
    if any(not 33 <= ord(each) <= 126 or each in '"\\' for each in value):
        raise ValueError("must be one scope, without spaces")


@dataclass(slots=True, frozen=True, kw_only=True)
class Oauth:
    """Bearer tokens (OAUTHBEARER, XOAUTH2), offered over TLS when `keys` or `introspection_url` is set."""

    issuer: str = setting(
        "", "Who issues the tokens: their `iss` must be exactly this (RFC 8414 §2).", check=check_url
    )
    audience: tuple[str, ...] = setting(
        (),
        "What this server is called in tokens: their `aud` must hold one of these, so that tokens for other services of "
        "the issuer are of no use here.",
    )
    user_claim: str = setting(
        "email",
        "The claim that holds the login. With `email`, `email_verified` must not be false. Users must not be able to choose "
        "its value.",
        check=check_claim,
    )
    scope: str = setting("", "A scope that tokens must have. Empty: none.", check=check_scope)
    leeway: int = setting(
        60,
        "Difference between the issuer's clock and ours that is taken for granted.",
        unit=Unit.SECONDS,
        minimum=0,
        maximum=600,
    )
    configuration_url: str = setting(
        "",
        "Where clients find the issuer's endpoints (`/.well-known/openid-configuration`); told to those whose token was "
        "refused (RFC 7628 §3.2.2).",
        check=check_url,
    )
    keys: Path | None = setting(
        None,
        "File with the issuer's public keys, as a JWK set or PEM: tokens that are JWTs are checked with them, here. The file is "
        "watched: replace it when the issuer changes its keys.",
    )
    algorithms: tuple[str, ...] = setting(
        ("RS256", "PS256", "ES256", "EdDSA", "Ed25519"),
        "Signature algorithms that tokens may use. Shared secrets (HS256) and `none` cannot be chosen.",
        check=check_algorithms,
    )
    introspection_url: str = setting(
        "",
        "Where tokens that are not checked by `keys` are asked about (RFC 7662). Redirects are not followed.",
        check=check_url,
    )
    introspection_client: str = setting("", "The client id to ask with. Empty: without authentication.")
    introspection_secret_file: Path | None = setting(None, "File whose first line is that client's secret.")
    certificate_authorities: Path | None = setting(
        None, "PEM file with the authorities trusted for `introspection_url`. Unset: those of the system."
    )
    introspection_timeout: int = setting(
        5, "Time for one question, in full.", unit=Unit.SECONDS, minimum=1, maximum=30
    )
    introspection_cache: int = setting(
        30,
        "How long an answer is remembered; as long a token that was revoked still serves. 0: not at all.",
        unit=Unit.SECONDS,
        minimum=0,
        maximum=600,
    )

    @property
    def enabled(self) -> bool:
        """Whether tokens can be checked."""
        return self.keys is not None or bool(self.introspection_url)


@dataclass(slots=True, frozen=True, kw_only=True)
class Authentication:
    """Ways to log in besides passwords, and what binds a login to its TLS connection."""

    certificate_names: tuple[str, ...] = setting(
        (CertificateName.MAILBOX.value,),
        "Where in a client's certificate its login is looked for, the best first: `rfc822Name` (subjectAltName), "
        "`emailAddress` or `commonName` (subject). For listeners with `client_authorities`.",
        check=check_certificate_names,
    )
    channel_binding: bool = setting(
        True,
        "Whether SCRAM is offered with -PLUS, with tls-exporter (RFC 9266) and tls-server-end-point (RFC 5929 §4) as channel "
        "bindings. "
        "Clients that insist on another type cannot log in then.",
    )
    oauth: Oauth = section(Oauth)
    kerberos: Kerberos = section(Kerberos)


def oauth_mistakes(oauth: Oauth) -> Iterator[tuple[str, str]]:
    """What is wrong between settings that are each good: (setting, sentence)."""
    if bool(oauth.introspection_client) != (oauth.introspection_secret_file is not None):
        yield "introspection_client", "goes with introspection_secret_file, one needs the other"
    if not oauth.enabled:
        if oauth.issuer:
            yield "issuer", "needs keys or introspection_url"
        return
    if not oauth.issuer:
        yield "issuer", "is needed with keys or introspection_url"
    if oauth.keys is not None and not oauth.audience:
        yield "audience", "is needed with keys"
    elif not oauth.audience and not oauth.scope:
        yield "audience", "or scope is needed with introspection_url"
