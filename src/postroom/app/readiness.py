"""Files that the configuration names, looked at before any worker starts: a mistake is a sentence, not workers that die.

Invariants: called as the user that will serve, after privileges were dropped.
"""

from __future__ import annotations

import ssl
import time

from postroom.app.certificates import Certificates
from postroom.config.certificate import CertificateUnusable
from postroom.config.paths import DataDir
from postroom.config.settings import Settings


def check_files(settings: Settings, data: DataDir) -> None:
    """Load certificates, clients' authorities, what introspection and Kerberos need, as workers will. Raises
    CertificateUnusable."""
    tls, oauth, kerberos = settings.tls, settings.authentication.oauth, settings.authentication.kerberos
    certificate, key = tls.certificate or data.certificate, tls.key or data.key
    what = f"tls.certificate {certificate} with tls.key {key}"
    try:
        certificates = Certificates(certificate, key, tls.minimum)
        for number, listener in enumerate(settings.listeners):
            if listener.client_authorities is not None:
                what = f"listeners[{number}].client_authorities {listener.client_authorities}"
                certificates.context("imap", listener.client_authorities)
        if oauth.enabled:
            from postroom.app.bearer import Tokens

            what = "a file of authentication.oauth"
            Tokens(oauth, time.time)
        if kerberos.keytab is not None:
            from postroom.app.kerberos import Tickets

            what = f"authentication.kerberos.keytab {kerberos.keytab}"
            kerberos.keytab.open("rb").close()
            Tickets(kerberos, settings.hostname, time.time)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise CertificateUnusable(f"{what} cannot be used: {_why(error)}") from error


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return str(error)
