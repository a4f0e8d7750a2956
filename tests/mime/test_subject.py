"""Base subjects and references (RFC 5256 §2.1, §3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.subject import base_subject, message_id, message_ids, references


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("hello", "hello"),
        ("Re: hello", "hello"),
        ("RE:  fwd: Fw : hello", "hello"),
        ("Re[2]: hello", "hello"),
        ("Re [list] : hello", "hello"),
        ("[list] hello", "hello"),
        ("[list] Re: [other] hello", "hello"),
        ("[a] [b]", "[b]"),
        ("[a]", "[a]"),
        ("hello (fwd)", "hello"),
        ("hello (FWD) (fwd)  ", "hello"),
        ("[fwd: hello]", "hello"),
        ("[Fwd: Re: hello (fwd)]", "hello"),
        ("[fwd: [fwd: hello]]", "hello"),
        ("a\t b  c", "a b c"),
        ("Re:", ""),
        ("", ""),
        ("Regarding: x", "Regarding: x"),
        ("re hello", "re hello"),
        ("Re: [x] y [z]", "y [z]"),
        ("[unclosed", "[unclosed"),
        ("Aw: x", "Aw: x"),
    ],
)
def test_base_subject(subject: str, base: str) -> None:
    assert base_subject(subject) == base


def by_the_letter(subject: str) -> str:
    """RFC 5256 §2.1 step by step, slow and without cleverness."""
    import re

    text = re.sub(r"[ \t\r\n]+", " ", subject)
    leader = re.compile(
        r"(?:(?:\[[^\[\]]*\] *)*(?:re|fwd?) *(?:\[[^\[\]]*\] *)?:| )", re.IGNORECASE | re.ASCII
    )
    blob = re.compile(r"\[[^\[\]]*\] *")
    while True:
        while (match := re.search(r"(?:\(fwd\)| )\Z", text, re.IGNORECASE)) is not None:
            text = text[: match.start()]
        while True:
            before = text
            while (match := leader.match(text)) is not None:
                text = text[match.end() :]
            if (match := blob.match(text)) is not None and text[match.end() :].strip(" "):
                text = text[match.end() :]
            if text == before:
                break
        if text[:5].lower() == "[fwd:" and text.endswith("]") and len(text) > 5:
            text = text[5:-1]
            continue
        return text


@given(
    st.lists(
        st.sampled_from(["re", "fwd", "fw", ":", "[", "]", "[a]", "re:", "(fwd)", " ", "x", "[fwd:", "\t"]),
        max_size=14,
    ).map("".join)
)
def test_base_subject_follows_the_procedure(subject: str) -> None:
    assert base_subject(subject) == by_the_letter(subject)


def test_message_ids() -> None:
    assert message_ids(b"<a@b> (comment) <c@d>\t<a@b> junk <e f@g>") == ("a@b", "c@d", "ef@g")
    assert message_ids(b"no ids <unclosed") == ()
    assert len(message_ids(b"".join(b"<%d@x>" % n for n in range(5000)))) == 1000


@pytest.mark.parametrize(
    ("value", "ident"),
    [
        (b"<a@b>", "a@b"),
        (b" x <a@b> y", "a@b"),
        (b"a@b", "a@b"),
        (b"<<<a@b>", "a@b"),
        (b"<a@b", "a@b"),
        (b"<" * 5000, ""),
        (b"", ""),
        (b"<>", ""),
    ],
)
def test_message_id(value: bytes, ident: str) -> None:
    assert message_id(value) == ident


def test_references() -> None:
    assert references(b"<a@b> <c@d>", b"<e@f>") == ("a@b", "c@d")
    assert references(None, b"<e@f> <g@h>") == ("e@f",)
    assert references(b"", b"<e@f>") == ("e@f",)
    assert references(b"none here", b"<e@f>") == ("e@f",)
    assert references(None, None) == ()
