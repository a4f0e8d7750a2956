"""The settings of bearer tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.config.loading import ConfigErrors, load
from postroom.config.tokens import ALGORITHMS
from postroom.session.jwt import ALGORITHMS as SERVED

HEAD = "[authentication.oauth]\n"


def test_what_can_be_configured_is_served() -> None:
    assert ALGORITHMS == SERVED
    assert not {"none", "HS256"} & set(ALGORITHMS)


def test_files_count_from_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text(HEAD + 'issuer = "https://id.test"\naudience = ["mail"]\nkeys = "keys.json"\n')
    oauth = load(path, {}).authentication.oauth
    assert oauth.enabled
    assert oauth.keys == tmp_path / "keys.json"
    path.write_text("")
    assert not load(path, {}).authentication.oauth.enabled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('keys = "k"', "issuer: is needed"),
        ('keys = "k"\nissuer = "https://id.test"', "audience: is needed"),
        (
            'introspection_url = "https://id.test/i"\nissuer = "https://id.test"',
            "audience: or scope is needed",
        ),
        ('issuer = "https://id.test"', "issuer: needs keys or introspection_url"),
        ('introspection_client = "c"', "one needs the other"),
        ('introspection_url = "http://id.test/i"', "must begin with https"),
        ('introspection_url = "ftp://id.test/i"', "must be a URL"),
        ('introspection_url = "https://u:p@id.test/i"', "without a user"),
        ('introspection_url = "https://[::1/i"', "must be a URL"),
        ('introspection_url = "https://id.test:99999/i"', "must be a URL"),
        ('algorithms = ["HS256"]', "must hold some of"),
        ('algorithms = ["RS256", "none"]', "must hold some of"),
        ("algorithms = []", "must hold some of"),
        ('scope = "two words"', "must be one scope"),
        ('user_claim = ""', "must name a claim"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text(HEAD + text + "\n")
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    assert any(message in str(error) for error in caught.value.errors), caught.value


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080"])
def test_this_machine_may_be_asked_in_clear(tmp_path: Path, host: str) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text(
        HEAD + f'introspection_url = "http://{host}/i"\nissuer = "https://id.test"\nscope = "mail"\n'
    )
    assert load(path, {}).authentication.oauth.introspection_url
