"""Local parts are quoted exactly when RFC 5321 §4.1.2 asks for it."""

from __future__ import annotations

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from postroom.model.address import Address, quote_local

_ATEXT = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~")


def _is_atom(text: str) -> bool:
    return bool(text) and all(each in _ATEXT or ord(each) > 0x7F for each in text)


@given(st.text() | st.text(alphabet='ab.+ "\\@é\x7f\x80\n', max_size=8))
def test_dot_strings_stay_and_everything_else_is_quoted(local: str) -> None:
    plain = all(_is_atom(atom) for atom in local.split("."))
    written = quote_local(local)
    assert (written == local) is plain
    if not plain:
        assert written[0] == written[-1] == '"'
        assert re.sub(r"\\(.)", r"\1", written[1:-1], flags=re.DOTALL) == local


def test_an_address_is_written_with_its_domain_if_it_has_one() -> None:
    assert str(Address("a b", "example.test")) == '"a b"@example.test'
    assert str(Address("Postmaster", "")) == "Postmaster"
