"""Files that are not there, or hold something else, are found before workers start."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroom.app.readiness import check_files
from postroom.config.certificate import CertificateUnusable, ensure_certificate
from postroom.config.paths import DataDir
from postroom.config.settings import Listener, ListenerProtocol, Settings, Tls, TlsMode
from postroom.config.tokens import Authentication, Oauth


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path)
    data.make()
    ensure_certificate(data.certificate, data.key, "localhost", datetime.now(UTC))
    return data


def imaps(authorities: Path) -> Listener:
    return Listener(
        protocol=ListenerProtocol.IMAP, port=993, tls=TlsMode.IMPLICIT, client_authorities=authorities
    )


def test_good_files(data: DataDir) -> None:
    oauth = Oauth(
        issuer="https://id.test", scope="m", introspection_url="https://id.test/", keys=data.root / "none"
    )
    check_files(
        Settings(listeners=(imaps(data.certificate),), authentication=Authentication(oauth=oauth)), data
    )
    # Keys may come later: until then tokens are put off, everything else is served.


@pytest.mark.parametrize(
    "content", [None, b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.parametrize("which", ["certificate", "authorities", "introspection"])
def test_bad_files(data: DataDir, content: bytes | None, which: str) -> None:
    bad = data.root / "bad.pem"
    if content is not None:
        bad.write_bytes(content)
    oauth = Oauth(
        issuer="https://id.test", scope="m", introspection_url="https://id.test/", certificate_authorities=bad
    )
    settings = {
        "certificate": Settings(tls=Tls(certificate=bad)),
        "authorities": Settings(listeners=(imaps(bad),)),
        "introspection": Settings(authentication=Authentication(oauth=oauth)),
    }[which]
    with pytest.raises(CertificateUnusable, match="cannot be used"):
        check_files(settings, data)


def test_a_secret_that_is_missing(data: DataDir) -> None:
    oauth = Oauth(issuer="https://id.test", scope="m", introspection_url="https://id.test/", introspection_client="c",
                  introspection_secret_file=data.root / "missing")  # fmt: skip
    with pytest.raises(CertificateUnusable, match="missing"):
        check_files(Settings(authentication=Authentication(oauth=oauth)), data)
