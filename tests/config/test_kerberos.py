"""The settings of Kerberos, and of listeners that speak KPOP."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroom.app.readiness import check_files
from postroom.config.certificate import CertificateUnusable, ensure_certificate
from postroom.config.kerberos import Kerberos
from postroom.config.loading import ConfigErrors, load
from postroom.config.paths import DataDir
from postroom.config.settings import ListenerProtocol, default_listeners

KERBEROS = '[authentication.kerberos]\nkeytab = "mail.keytab"\nrealms = ["EXAMPLE.ORG"]\n'
KPOP = '[[listeners]]\nprotocol = "kpop"\nport = 1109\n'
CLEAR = 'tls = "none"\ncleartext_auth_cidrs = ["192.0.2.0/24"]\n'


def read(tmp_path: Path, text: str) -> Kerberos:
    path = tmp_path / "postroom.toml"
    path.write_text(text)
    return load(path, {}).authentication.kerberos


def test_off_by_default(tmp_path: Path) -> None:
    assert read(tmp_path, "").keytab is None
    assert ListenerProtocol.KPOP not in {listener.protocol for listener in default_listeners(0)}


def test_realms_and_their_domains(tmp_path: Path) -> None:
    kerberos = read(
        tmp_path, '[authentication.kerberos]\nkeytab = "k"\nrealms = ["EXAMPLE.ORG", "STAFF=example.net"]\n'
    )
    assert kerberos.keytab == tmp_path / "k"
    assert kerberos.domains == {"EXAMPLE.ORG": "example.org", "STAFF": "example.net"}


@pytest.mark.parametrize("listener", [CLEAR, 'tls = "implicit"\n'])
def test_kpop_where_it_is_asked_for(tmp_path: Path, listener: str) -> None:
    read(tmp_path, KERBEROS + KPOP + listener)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[authentication.kerberos]\nkeytab = "k"\n', "realms: goes with keytab"),
        ('[authentication.kerberos]\nrealms = ["R"]\n', "realms: goes with keytab"),
        (KERBEROS.replace("EXAMPLE.ORG", "a/b"), "must hold realms"),
        (KERBEROS.replace("EXAMPLE.ORG", "R=a b"), "must hold realms"),
        (KERBEROS.replace('"EXAMPLE.ORG"', '"R", "R=other"'), "names a realm twice"),
        (KPOP + CLEAR, "keytab: is needed by the listener"),
        (KERBEROS + KPOP + 'tls = "none"\n', "name the networks that may log in to KPOP in clear"),
        (KERBEROS + KPOP + 'tls = "starttls"\n', "KPOP has no command for TLS"),
        (KERBEROS + KPOP + 'tls = "implicit"\nclient_authorities = "ca.pem"\n', "a protocol with SASL"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_keytab_that_is_not_there_is_said_before_workers_start(tmp_path: Path) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text(KERBEROS)
    settings = load(path, {})
    data = DataDir(settings.data_dir)
    data.make()
    ensure_certificate(data.certificate, data.key, "localhost", datetime.now(UTC))
    with pytest.raises(CertificateUnusable, match=r"mail\.keytab"):
        check_files(settings, data)


def test_a_package_that_is_not_there_is_said_before_workers_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text(KERBEROS)
    (tmp_path / "mail.keytab").write_bytes(b"\5\2")
    settings = load(path, {})
    data = DataDir(settings.data_dir)
    data.make()
    ensure_certificate(data.certificate, data.key, "localhost", datetime.now(UTC))
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(CertificateUnusable, match=r"needs the extra `kerberos` \(docs/kerberos.md\)"):
        check_files(settings, data)
