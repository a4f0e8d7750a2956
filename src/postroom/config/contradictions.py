"""What is wrong between settings that are each good.

It must not know: files, lines, the environment.
"""

from __future__ import annotations

from typing import Final

from postroom.config.kerberos import kerberos_mistakes
from postroom.config.settings import Listener, ListenerProtocol, Settings, StorageEngine, TlsMode
from postroom.config.sources import Source, SourceProtocol, SourceTls
from postroom.config.tokens import oauth_mistakes

_WITHOUT_SASL: Final = (ListenerProtocol.LMTP, ListenerProtocol.POP2, ListenerProtocol.KPOP)

Place = tuple[str | int, ...]
"""The keys and numbers that lead to a setting."""


def contradictions(settings: Settings) -> list[tuple[Place, str]]:
    """What is wrong between settings that are each good: (where, sentence)."""
    found: list[tuple[Place, str]] = []
    bound: dict[object, int] = {}
    for number, listener in enumerate(settings.listeners):
        found += [(("listeners", number, key), message) for key, message in _listener_mistakes(listener)]
        place = listener.socket or (listener.address, listener.port)
        if place in bound:
            message = f"binds the same place as listeners[{bound[place]}]"
            found.append((("listeners", number), message))
        bound.setdefault(place, number)
    named: dict[str, int] = {}
    for number, source in enumerate(settings.collect):
        found += [(("collect", number, key), message) for key, message in _source_mistakes(source)]
        if named.setdefault(source.name, number) != number:
            found.append((("collect", number, "name"), f"is the name of collect[{named[source.name]}] too"))
    oauth = settings.authentication.oauth
    found += [(("authentication", "oauth", key), message) for key, message in oauth_mistakes(oauth)]
    kerberos = settings.authentication.kerberos
    found += [(("authentication", "kerberos", key), message) for key, message in kerberos_mistakes(kerberos)]
    if kerberos.keytab is None and any(each.protocol is ListenerProtocol.KPOP for each in settings.listeners):
        found.append((("authentication", "kerberos", "keytab"), "is needed by the listener that speaks kpop"))
    queue, auth, storage = settings.queue, settings.auth, settings.storage
    smarthost = queue.smarthost
    if queue.warn_after >= queue.lifetime:
        found.append((("queue", "warn_after"), "must be less than queue.lifetime"))
    if smarthost.user and smarthost.password_file is None:
        found.append((("queue", "smarthost", "user"), "needs queue.smarthost.password_file"))
    if smarthost.user and smarthost.tls is TlsMode.NONE:
        found.append((("queue", "smarthost", "tls"), "must not be none where a password is sent"))
    if smarthost.channel_binding and smarthost.tls is TlsMode.NONE:
        found.append((("queue", "smarthost", "channel_binding"), "needs TLS"))
    if auth.delay_minimum > auth.delay_maximum:
        found.append((("auth", "delay_minimum"), "must not be more than auth.delay_maximum"))
    if storage.engine is StorageEngine.MEMORY and settings.workers > 1:
        found.append((("workers",), "must be 1 (or 0) with storage.engine memory"))
    return found


def _source_mistakes(source: Source) -> list[tuple[str, str]]:
    found = [(key, "is needed") for key in ("name", "account", "host", "user") if not getattr(source, key)]
    if source.kerberos == (source.password_file is not None):
        found.append(("password_file", "goes without kerberos" if source.kerberos else "is needed"))
    if source.kerberos and source.channel_binding:
        found.append(("channel_binding", "goes without kerberos"))
    if source.digest:
        found += [
            ("digest", f"goes without {key}")
            for key in ("kerberos", "channel_binding", "oauth_token_url")
            if getattr(source, key)
        ]
        if source.tls is SourceTls.NONE and not source.password_in_clear:
            found.append(("digest", "needs TLS, or password_in_clear"))
    if source.oauth_token_url:
        found += [
            ("oauth_token_url", f"goes without {key}")
            for key in ("kerberos", "channel_binding", "password_in_clear")
            if getattr(source, key)
        ]
        if source.tls is SourceTls.NONE:
            found.append(("oauth_token_url", "needs TLS"))
    if source.password_in_clear and source.tls is not SourceTls.NONE:
        found.append(("password_in_clear", "makes no sense with TLS"))
    if source.channel_binding and source.tls is SourceTls.NONE:
        found.append(("channel_binding", "needs TLS"))
    if source.keep and source.delete_after:
        found.append(("delete_after", "needs keep = false"))
    if source.protocol is SourceProtocol.POP3 and source.folder.upper() != "INBOX":
        found.append(("folder", "must be INBOX: POP3 has no other"))
    return found


def _listener_mistakes(listener: Listener) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if listener.client_authorities is not None and (
        listener.tls is TlsMode.NONE or listener.protocol in _WITHOUT_SASL
    ):
        found.append(("client_authorities", "needs TLS, and a protocol with SASL"))
    if listener.apop and listener.protocol is not ListenerProtocol.POP3:
        found.append(("apop", "needs protocol = pop3"))
    elif listener.apop and listener.tls is not TlsMode.IMPLICIT and not listener.apop_cidrs:
        found.append(("apop", "needs tls = implicit, or apop_cidrs: after STLS there is no other greeting"))
    if listener.apop_cidrs and not listener.apop:
        found.append(("apop_cidrs", "needs apop = true"))
    if listener.socket is None and listener.port is None:
        found.append(("port", "a listener needs a port, or a socket"))
    if listener.socket is not None:
        if listener.port is not None:
            found.append(("port", "a listener has a port or a socket, not both"))
        if listener.protocol is not ListenerProtocol.LMTP:
            found.append(("socket", "only LMTP is served on unix sockets"))
        if listener.tls is not TlsMode.NONE:
            found.append(("tls", "must be none on a unix socket"))
    elif listener.protocol is ListenerProtocol.LMTP and listener.cleartext_auth_cidrs:
        found.append(("cleartext_auth_cidrs", "LMTP does not authenticate"))
    elif listener.protocol in (ListenerProtocol.POP2, ListenerProtocol.KPOP):
        name = listener.protocol.upper()
        if listener.tls is TlsMode.STARTTLS:
            found.append(("tls", f"must be implicit or none: {name} has no command for TLS"))
        elif listener.tls is TlsMode.NONE and not listener.cleartext_auth_cidrs:
            found.append(("cleartext_auth_cidrs", f"name the networks that may log in to {name} in clear"))
    return found
