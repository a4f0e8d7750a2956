"""The loader: defaults, units, the environment, and every mistake at once with its line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.config.loading import ConfigError, ConfigErrors, convert, load
from postroom.config.positions import key_lines
from postroom.config.settings import (
    STANDARD_LISTENERS,
    ListenerProtocol,
    Settings,
    TlsMode,
    TlsVersion,
    default_listeners,
)
from postroom.config.spec import Kind, Unit, read_quantity, walk, write_quantity


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "postroom.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(tmp_path: Path, text: str, env: Mapping[str, str] | None = None) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path, text), env or {})
    return caught.value.errors


def test_defaults_are_safe(tmp_path: Path) -> None:
    settings = load(write(tmp_path, ""), {})
    assert settings.data_dir == tmp_path / "data"
    assert all(each.address == "127.0.0.1" for each in settings.listeners)
    assert not any(each.cleartext_auth_cidrs for each in settings.listeners)
    assert settings.queue.smarthost.host == ""
    assert settings.metrics.address == "127.0.0.1"
    assert settings.tls.minimum is TlsVersion.TLS_1_2
    assert settings.tls.certificate == tmp_path / "data" / "tls" / "cert.pem"
    assert settings.hostname


def test_without_a_file_paths_count_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).data_dir == tmp_path / "data"


def test_every_default_passes_its_own_rules() -> None:
    for path, field in walk(Settings):
        if field.default is None:
            continue
        given = (
            list(field.default)
            if isinstance(field.default, tuple)
            else str(field.default)
            if field.kind is Kind.PATH
            else field.default
        )
        assert convert(field, given) == field.default, path


def test_every_setting_is_documented() -> None:
    for path, field in walk(Settings):
        assert field.spec is not None, path
        assert field.spec.doc.endswith((".", ")")), path


def test_base_port_moves_every_listener() -> None:
    moved = default_listeners(20000)
    assert [(each.protocol, each.port, each.tls) for each in moved if each.port] == [
        (protocol, 20000 + port, tls) for protocol, port, tls in STANDARD_LISTENERS
    ]
    sockets = [each for each in moved if each.socket]
    assert [each.protocol for each in sockets] == [ListenerProtocol.LMTP]


def test_quantities_and_nested_tables(tmp_path: Path) -> None:
    settings = load(
        write(
            tmp_path,
            """
            base_port = 21000
            [limits]
            message_size = "10 MB"
            smtp_idle = "15 min"
            [storage]
            inline_blob_limit = "32KiB"
            [queue]
            retry_schedule = ["5 min", 900, "1h"]
            [queue.smarthost]
            host = "relay.example.test"
            tls = "implicit"
            password_file = "secret"
            """,
        ),
        {},
    )
    assert settings.limits.message_size == 10_000_000
    assert settings.limits.smtp_idle == 900
    assert settings.storage.inline_blob_limit == 32 * 1024
    assert settings.queue.retry_schedule == (300, 900, 3600)
    assert settings.queue.smarthost.tls is TlsMode.IMPLICIT
    assert settings.queue.smarthost.password_file == tmp_path / "secret"
    assert settings.metrics_port == 21091


def test_listeners_replace_the_default_ones(tmp_path: Path) -> None:
    settings = load(
        write(
            tmp_path,
            """
            [[listeners]]
            protocol = "imap"
            address = "::1"
            port = 1143
            cleartext_auth_cidrs = ["192.0.2.0/24"]
            [[listeners]]
            protocol = "lmtp"
            socket = "run/in.sock"
            tls = "none"
            """,
        ),
        {},
    )
    imap, lmtp = settings.listeners
    assert (imap.address, imap.port, imap.tls) == ("::1", 1143, TlsMode.STARTTLS)
    assert lmtp.socket == tmp_path / "data" / "run" / "in.sock"


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    settings = load(
        write(tmp_path, "workers = 2\n[limits]\nmessage_size = 1000000\n"),
        {
            "POSTROOM_WORKERS": "3",
            "POSTROOM_LIMITS_MESSAGE_SIZE": "2 MB",
            "POSTROOM_METRICS_ENABLED": "false",
            "POSTROOM_QUEUE_SMARTHOST_HOST": "relay.example.test",
            "POSTROOM_QUEUE_RETRY_SCHEDULE": "60, 5 min",
            "POSTROOM_TEST_KILLS": "not a setting",
            "POSTROOM_SERVICE_HOST": "10.0.0.1",
            "PATH": "/bin",
        },
    )
    assert settings.workers == 3
    assert settings.limits.message_size == 2_000_000
    assert settings.metrics.enabled is False
    assert settings.queue.smarthost.host == "relay.example.test"
    assert settings.queue.retry_schedule == (60, 300)


def test_environment_mistakes_are_named(tmp_path: Path) -> None:
    errors = mistakes(
        tmp_path, "", {"POSTROOM_BASE_PORTS": "1", "POSTROOM_WORKERS": "many", "POSTROOM_LISTENERS": "x"}
    )
    assert sorted((each.setting, each.line) for each in errors) == [
        ("POSTROOM_BASE_PORTS", 0),
        ("POSTROOM_LISTENERS", 0),
        ("POSTROOM_WORKERS", 0),
    ]
    assert "POSTROOM_BASE_PORT?" in errors[0].suggestion


def test_all_mistakes_at_once_with_lines_and_suggestions(tmp_path: Path) -> None:
    errors = mistakes(
        tmp_path,
        """hostnam = "x"
workers = true
message_size = 1
[limits]
connections_per_ip = 0
smtp_idle = "soon"
[[listeners]]
protocol = "imapp"
port = 99999
address = "localhost"
[[listeners]]
protocol = "imap"
port = 1143
cleartext_auth_cidrs = ["0.0.0.0/0", "10.0.0.1/8"]
[queu]
x = 1
[delivery]
recipient_delimiter = "ab"
""",
    )
    found = {(each.line, each.setting): each for each in errors}
    assert set(found) == {
        (1, "hostnam"),
        (2, "workers"),
        (3, "message_size"),
        (5, "limits.connections_per_ip"),
        (6, "limits.smtp_idle"),
        (8, "listeners[0].protocol"),
        (9, "listeners[0].port"),
        (10, "listeners[0].address"),
        (14, "listeners[1].cleartext_auth_cidrs"),
        (15, "queu"),
        (18, "delivery.recipient_delimiter"),
    }
    assert [each.line for each in errors] == sorted(each.line for each in errors)
    assert found[1, "hostnam"].suggestion == 'did you mean "hostname"?'
    assert found[3, "message_size"].suggestion == "it belongs to [limits]"
    assert found[8, "listeners[0].protocol"].suggestion == 'did you mean "imap"?'
    assert found[5, "limits.connections_per_ip"].message == "must be 1 to 100000"
    assert str(found[15, "queu"]).startswith(f"{tmp_path / 'postroom.toml'}:15: queu: ")


@pytest.mark.parametrize(
    ("text", "setting", "message"),
    [
        ("[queue]\nlifetime = '2h'\nwarn_after = '3h'", "queue.warn_after", "less than"),
        ("[queue.smarthost]\nhost='a.test'\nuser='me'", "queue.smarthost.user", "password_file"),
        ("[auth]\ndelay_minimum = 20", "auth.delay_minimum", "delay_maximum"),
        (
            "[[collect]]\nname='a'\naccount='a'\nhost='h.test'\nuser='u'\npassword_file='p'\ndigest=true\nchannel_binding=true",
            "collect[0].digest",
            "goes without channel_binding",
        ),
        (
            "[[collect]]\nname='a'\naccount='a'\nhost='h.test'\nuser='u'\npassword_file='p'\ndigest=true\ntls='none'",
            "collect[0].digest",
            "needs TLS, or password_in_clear",
        ),
        (
            "[[collect]]\nname='a'\naccount='a'\nhost='h.test'\nuser='u'\npassword_file='p'\noauth_token_url='https://a.test/'\nchannel_binding=true",
            "collect[0].oauth_token_url",
            "goes without channel_binding",
        ),
        (
            "[[collect]]\nname='a'\naccount='a'\nhost='h.test'\nuser='u'\npassword_file='p'\noauth_token_url='https://a.test/'\ntls='none'",
            "collect[0].oauth_token_url",
            "needs TLS",
        ),
        ("[[collect]]\noauth_token_url='http://a.test/'", "collect[0].oauth_token_url", "https"),
        ("[[listeners]]\nprotocol='imap'", "listeners[0].port", "needs a port"),
        ("[[listeners]]\nprotocol='imap'\nport=993\napop=true", "listeners[0].apop", "needs protocol = pop3"),
        ("[[listeners]]\nprotocol='pop3'\nport=110\napop=true", "listeners[0].apop", "needs tls = implicit"),
        (
            "[[listeners]]\nprotocol='pop3'\nport=110\napop_cidrs=['192.0.2.0/24']",
            "listeners[0].apop_cidrs",
            "needs apop = true",
        ),
        ("[[listeners]]\nprotocol='imap'\nsocket='x'\ntls='none'", "listeners[0].socket", "only LMTP"),
        ("[[listeners]]\nprotocol='lmtp'\nsocket='x'", "listeners[0].tls", "must be none"),
        ("[[listeners]]\nprotocol='pop2'\nport=109", "listeners[0].tls", "must be implicit or none"),
        (
            "[[listeners]]\nprotocol='pop2'\nport=109\ntls='none'",
            "listeners[0].cleartext_auth_cidrs",
            "name the networks",
        ),
        (
            "[[listeners]]\nport=2525\n[[listeners]]\nport=2525\nprotocol='imap'",
            "listeners[1]",
            "same place as listeners[0]",
        ),
        ("[storage]\nengine = 'memory'\n[limits]\n[log]\n", "workers", "memory"),
    ],
)
def test_contradictions(tmp_path: Path, text: str, setting: str, message: str) -> None:
    env = {"POSTROOM_WORKERS": "2"} if setting == "workers" else {}
    errors = mistakes(tmp_path, text, env)
    assert [each.setting for each in errors] == [setting]
    assert message in errors[0].message


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a = 1\nb = \n", 2, "not TOML"),
        (b"# ok\n\xff\n", 2, "UTF-8"),
        (b"a = " + b"[" * 100_000, 0, "nested"),
        (b"#" * (1024 * 1024 + 1), 0, "larger"),
    ],
)
def test_files_that_are_not_toml(tmp_path: Path, content: bytes, line: int, message: str) -> None:
    path = tmp_path / "postroom.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigErrors, match=message) as caught:
        load(path, {})
    assert caught.value.errors[0].line == line


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="No such file"):
        load(tmp_path / "absent.toml", {})


@pytest.mark.parametrize("value", ["a\\u0000b", "a\\nb", "a\\u007fb"])
def test_no_control_characters_in_settings(tmp_path: Path, value: str) -> None:
    errors = mistakes(tmp_path, f'data_dir = "{value}"')
    assert "control characters" in errors[0].message


# --- units


@given(st.integers(0, 2**59), st.sampled_from(Unit))
def test_quantities_read_back(number: int, unit: Unit) -> None:
    assert read_quantity(write_quantity(number, unit), unit) == number


@pytest.mark.parametrize("text", ["", "MB", "-1", "1.5 MB", "1 XB", "5 min", "٣", "9" * 30, "1e9"])
def test_what_is_not_a_number_of_octets(text: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number"):
        read_quantity(text, Unit.OCTETS)


# --- lines

DOCUMENT = '''\
# comment = 1
top = 1 # x = 2
"quoted key" = "a # b"
multi = """
fake = 1
\\"""x # still the string
"""
literal = \'\'\'
[fake]
\'\'\'
list = [
  1, # one
  { inner = "}" },
  [2,
   3],
]
a.b.c = "]"
[table]
x = 1
[table.sub]
y = { p = 1, q.r = 2 }
[[many]]
z = 1
[[many]]
z = 2
[many.under]
w = 3
'''


def test_lines_of_keys() -> None:
    tomllib.loads(DOCUMENT)
    lines = key_lines(DOCUMENT)
    assert lines["top",] == 2
    assert lines["quoted key",] == 3
    assert lines["multi",] == 4
    assert lines["literal",] == 8
    assert lines["list",] == 11
    assert lines["list", 0] == 12
    assert lines["list", 1, "inner"] == 13
    assert lines["list", 2, 1] == 15
    assert lines["a", "b", "c"] == 17
    assert lines["table", "x"] == 19
    assert lines["table", "sub", "y", "q", "r"] == 21
    assert lines["many", 0, "z"] == 23
    assert lines["many", 1, "z"] == 25
    assert lines["many", 1, "under", "w"] == 27
    assert not any("fake" in path for path in lines)


values = st.recursive(
    st.one_of(
        st.booleans().map(lambda value: str(value).lower()),
        st.integers(-1000, 1000).map(str),
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8).map(
            lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        ),
        st.just('"""\nx = 1\n[y]\n"""'),
        st.just("'''a'b''c'''"),
        st.just("1979-05-27 07:32:00"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: "[\n" + ", # ]\n".join(parts) + "\n]"),
        st.lists(inner, max_size=3).map(
            lambda parts: "{" + ", ".join(f"k{number} = {part}" for number, part in enumerate(parts)) + "}"
        ),
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """All paths in a document."""
    found = {path} if path else set()
    if isinstance(value, dict):
        for key, each in value.items():
            found |= places(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            found |= places(each, (*path, number))
    return found


@given(st.lists(values, max_size=4), st.lists(values, max_size=3))
def test_every_place_of_a_valid_document_has_a_line(top: list[str], tables: list[str]) -> None:
    text = "".join(f"key{number} = {value}\n" for number, value in enumerate(top))
    text += "".join(f"[[t]]\nv = {value}\n" for value in tables)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # newlines inside inline tables
        return
    assert set(key_lines(text)) == places(document)
