"""Commands that are remembered mean what they mean when they are read anew."""

from __future__ import annotations

import pytest

from postroom.model.address import Address
from postroom.wire.errors import ParseError
from postroom.wire.smtp.commands import Mail, Rcpt, UnknownParameter, parse_command


def test_the_same_line_is_the_same_command_every_time() -> None:
    line = b"MAIL FROM:<Anna@example.test> SIZE=12"
    expected = Mail(Address("Anna", "example.test"), 12)
    assert [parse_command(line) for _ in range(3)] == [expected] * 3
    assert parse_command(b"RCPT TO:<Anna@example.test>") == Rcpt(Address("Anna", "example.test"))
    assert parse_command(b"RCPT TO:<anna@example.test>") == Rcpt(Address("anna", "example.test"))


def test_long_arguments_are_read_alike() -> None:
    domain = ".".join(["a" * 60] * 3)
    line = b"RCPT TO:<anna@" + domain.encode("ascii") + b">"
    assert [parse_command(line) for _ in range(2)] == [Rcpt(Address("anna", domain))] * 2


@pytest.mark.parametrize(
    ("line", "kind"),
    [(b"MAIL FROM:<a@b> X=1", UnknownParameter), (b"RCPT TO:a@b", ParseError), (b"RCPT TO:<>", ParseError)],
)
def test_an_error_is_raised_every_time(line: bytes, kind: type[ParseError]) -> None:
    for _ in range(2):
        with pytest.raises(kind):
            parse_command(line)
