"""Octets to text: charsets as mail really uses them.

Purpose: ``decode`` turns octets with a declared charset into text, whatever the declaration is worth.

Invariants: never raises; linear time; only codecs from a fixed list run, because Python's registry also holds codecs
that are not charsets, take quadratic time (punycode) or warn (unicode_escape).

It must not know: headers, MIME parts.
"""

from __future__ import annotations

import codecs
from functools import lru_cache
from typing import Final

_NAMES: Final = """
    utf-8 utf-8-sig utf-7 utf-16 utf-16-be utf-16-le utf-32 utf-32-be utf-32-le ascii
    iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10
    iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256
    cp1257 cp1258 cp437 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866
    cp869 cp874 cp932 cp949 cp950 koi8-r koi8-u koi8-t gb2312 gbk gb18030 hz big5 big5hkscs euc_jp
    euc_jis_2004 euc_jisx0213 shift_jis shift_jis_2004 shift_jisx0213 iso2022_jp iso2022_jp_1 iso2022_jp_2
    iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext iso2022_kr euc_kr johab tis-620 mac-cyrillic mac-greek
    mac-iceland mac-latin2 mac-roman mac-turkish hp-roman8 ptcp154 kz1048
"""
_ALLOWED: Final = frozenset(_NAMES.split())

# Names that mail carries and Python does not know, or knows as something narrower than what senders mean by them.
_ALIASES: Final = {
    "us-ascii": "",
    "ascii": "",
    "ansi_x3.4-1968": "",
    "unknown-8bit": "",
    "x-unknown": "",
    "default": "",
    "iso-8859-1": "cp1252",  # quirk: Outlook labels Windows-1252 so; RFC 8187 readers and WHATWG agree
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "x-unicode-2-0-utf-7": "utf-7",
    "cp-850": "cp850",
}


@lru_cache(maxsize=256)
def codec_name(charset: str) -> str:
    """Python's codec for a charset name as written in mail; empty when there is none to trust (guess then)."""
    name = charset.strip().strip("'\"").lower()
    if len(name) > 40 or not name.isascii():
        return ""
    name = _ALIASES.get(name, name)
    if not name or "\0" in name:
        return ""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""
    return found if found in _ALLOWED else ""


def guess(raw: bytes) -> str:
    """Undeclared octets: UTF-8 when they are valid UTF-8, else Windows-1252, else ISO 8859-1 (any octet)."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def decode(raw: bytes, charset: str = "") -> str:
    """Text of ``raw`` in ``charset``; octets that do not fit become U+FFFD. Never raises."""
    name = codec_name(charset) if charset else ""
    if not name or (name == "utf-8" and raw.isascii()):
        return guess(raw)
    if name == "cp1252":
        return guess(raw) if raw.isascii() else _decode_1252(raw)
    try:
        return raw.decode(name, "replace")
    except (UnicodeError, ValueError):  # a few CJK codecs raise in spite of "replace"
        return guess(raw)


def _decode_1252(raw: bytes) -> str:
    """Windows-1252, with the five undefined octets read as ISO 8859-1 reads them."""
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
