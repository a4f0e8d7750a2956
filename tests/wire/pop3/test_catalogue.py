"""Reply texts: every one has its translations, with the same places, and none can be taken for something else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.model import errors
from postroom.session import authentication
from postroom.wire.pop3 import replies
from postroom.wire.pop3.catalogue import LANGUAGES, TEXTS, Phrase, choose, translate

SOURCE = Path(replies.__file__).parents[2]
SAYING = {
    "Ok",
    "Err",
    "LoggedIn",
    "Goodbye",
    "BeginTls",
    "Listing",
    "BodyBegin",
    "Phrase",
    "send_body",
    "send_lines",
} | {
    "_refuse",
    "_say_err",
    "greet",
    "dismiss",
    "give_up",
    "NoSuchMessage",
}


def said() -> Iterator[str]:
    """Texts that the sources of POP3 say, as literals."""
    files = [*(SOURCE / "session" / "pop3").glob("*.py"), SOURCE / "wire" / "pop3" / "server.py"]
    for file in [*files, SOURCE / "session" / "maildrop.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if name in SAYING:
                    literals = [each for each in node.args if isinstance(each, ast.Constant)]
                    yield from (each.value for each in literals if isinstance(each.value, str) and each.value)
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "default_public":
                assert isinstance(node.value, ast.Constant)
                yield str(node.value.value)


@pytest.mark.parametrize("tag", [tag for tag in LANGUAGES if tag != "en"])
def test_every_text_is_translated(tag: str) -> None:
    texts = set(said())
    assert len(texts) > 30
    domain = {
        kind.default_public
        for kind in (
            errors.AuthenticationFailed,
            errors.Corrupt,
            errors.InUse,
            errors.NoSuchMessage,
            errors.PostroomError,
            errors.Unavailable,
            authentication.ExchangeCancelled,
        )
    }
    assert texts | domain <= TEXTS[tag].keys()
    for english, text in TEXTS[tag].items():
        assert text.count("{}") == english.count("{}"), text
        assert text.isprintable()
        assert text[0] not in "[+-."
        assert len(text.encode()) < 200


def test_languages_have_texts() -> None:
    assert set(TEXTS) == set(LANGUAGES)
    assert len({frozenset(TEXTS[tag]) for tag in TEXTS if tag != "en"}) == 1


def test_phrases_are_english_until_translated() -> None:
    phrase = Phrase("Message {} deleted", 7)
    assert phrase == "Message 7 deleted"
    assert translate(phrase, "fr") == "Message 7 effacé"
    assert translate(phrase, "en") == phrase
    assert translate("no such text", "de") == "no such text"


@pytest.mark.parametrize(
    ("wanted", "tag"),
    [("fr", "fr"), ("FR-ca", "fr"), ("de-Latn-CH-1996", "de"), ("*", "es"), ("uga", None), ("d", None)],
)
def test_lookup(wanted: str, tag: str | None) -> None:
    assert choose(wanted, "es") == tag
