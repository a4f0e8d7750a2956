"""A small reader of IMAP values, to check what the renderers wrote: parenthesised lists, quoted strings, NIL, numbers.

Written apart from postroom's own grammar on purpose: it is the second opinion.
"""

from __future__ import annotations

import re

Value = None | int | bytes | list["Value"]

_TOKEN = re.compile(rb'(\()|(\))|"((?:[^"\\\r\n\x00]|\\["\\])*+)"|(NIL)|([0-9]+)|( )')


def parse(octets: bytes) -> Value:
    """The one value that ``octets`` are. Raises ValueError for anything but exactly one well-formed value."""
    if not octets.isascii():
        raise ValueError("not ASCII")
    top: list[Value] = []
    stack: list[list[Value]] = []
    current = top
    pos = 0
    while pos < len(octets):
        match = _TOKEN.match(octets, pos)
        if match is None:
            raise ValueError(f"no token at {pos}: {octets[pos : pos + 40]!r}")
        pos = match.end()
        if match[1]:
            stack.append(current)
            child: list[Value] = []
            current.append(child)
            current = child
        elif match[2]:
            if not stack:
                raise ValueError("unbalanced")
            current = stack.pop()
        elif match[3] is not None:
            current.append(re.sub(rb"\\(.)", rb"\1", match[3]))
        elif match[4]:
            current.append(None)
        elif match[5]:
            current.append(int(match[5]))
        elif octets[pos : pos + 1] in (b" ", b")", b""):
            raise ValueError("stray space")
    if stack or len(top) != 1:
        raise ValueError("unbalanced")
    return top[0]


def as_list(value: Value) -> list[Value]:
    """The value, which must be a list."""
    assert isinstance(value, list), value
    return value


def check_envelope(value: Value) -> None:
    """The shape of an envelope (RFC 3501 §9 envelope)."""
    items = as_list(value)
    assert len(items) == 10, items
    for index in (0, 1, 8, 9):
        assert items[index] is None or isinstance(items[index], bytes)
    for index in range(2, 8):
        if items[index] is None:
            continue
        group = False
        for address in as_list(items[index]):
            fields = as_list(address)
            assert len(fields) == 4, fields
            assert all(field is None or isinstance(field, bytes) for field in fields)
            if fields[3] is None:  # a group mark
                assert (fields[2] is None) == group
                group = fields[2] is not None
            else:
                assert fields[2] is not None
        assert not group, "a group that never ends"


def check_body(value: Value, extended: bool) -> list[str]:
    """The shape of a body (RFC 3501 §9 body); the types of its parts in order of appearance."""
    found: list[str] = []
    stack = [value]
    while stack:
        items = as_list(stack.pop())
        if isinstance(items[0], list):
            parts = [item for item in items if isinstance(item, list)]
            count = next(index for index, item in enumerate(items) if not isinstance(item, list))
            tail = items[count:]
            assert isinstance(tail[0], bytes)
            assert len(tail) == (5 if extended else 1), tail
            found.append("multipart/" + tail[0].decode())
            stack += reversed(parts[:count])
            continue
        kind, subtype, params = items[0], items[1], items[2]
        assert isinstance(kind, bytes)
        assert isinstance(subtype, bytes)
        if params is not None:
            assert len(as_list(params)) % 2 == 0
            assert all(isinstance(item, bytes) for item in as_list(params))
        assert isinstance(items[5], bytes), "body-fld-enc is a string"
        assert isinstance(items[6], int)
        found.append(f"{kind.decode()}/{subtype.decode()}")
        basic = 7
        if kind == b"message" and subtype == b"rfc822":
            check_envelope(items[7])
            stack.append(items[8])
            assert isinstance(items[9], int)
            basic = 10
        elif kind == b"text":
            assert isinstance(items[7], int)
            basic = 8
        assert len(items) == basic + (4 if extended else 0), items
        if extended and items[basic + 1] is not None:
            disposition = as_list(items[basic + 1])
            assert len(disposition) == 2
            assert isinstance(disposition[0], bytes)
    return found
