"""The texts of replies in the languages that LANG offers (RFC 6856 §3): the one place where they are translated.

Invariants: the English text is the key; a text that is not here is said in English. Translations hold the same places (``{}``)
in the same order, and never CR, LF or a bracket at their beginning. Clients decide by +OK, -ERR and response codes alone.

It must not know: when a text is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from postroom.wire.pop3 import french, german, spanish

DEFAULT: Final = "en"

LANGUAGES: Final[Mapping[str, str]] = {
    "en": "English",
    "fr": "Français",
    "de": "Deutsch",
    "es": "Español",
}
"""Language tags (RFC 5646) with each language's name in itself."""

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {},
    "fr": french.TEXTS,
    "de": german.TEXTS,
    "es": spanish.TEXTS,
}


class Phrase(str):
    """A text with values in it, in English; it remembers both, so that it can be said in another language."""

    __slots__ = ("template", "values")

    template: str
    values: tuple[object, ...]

    def __new__(cls, template: str, *values: object) -> Self:
        """``template`` has a ``{}`` for each value."""
        phrase = super().__new__(cls, template.format(*values))
        phrase.template = template
        phrase.values = values
        return phrase


def translate(text: str, language: str) -> str:
    """The text in a language of LANGUAGES."""
    texts = TEXTS[language]
    if isinstance(text, Phrase):
        return texts.get(text.template, text.template).format(*text.values)
    return texts.get(text, text)


def choose(wanted: str, default: str = DEFAULT) -> str | None:
    """The tag for a language range, by lookup (RFC 4647 §3.4): ``de-CH`` finds ``de``, ``*`` the default. None for none."""
    if wanted == "*":
        return default
    subtags = wanted.lower().split("-")
    for length in range(len(subtags), 0, -1):
        tag = "-".join(subtags[:length])
        if tag in LANGUAGES:
            return tag
    return None
