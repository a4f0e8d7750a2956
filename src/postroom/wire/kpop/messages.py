"""What KPOP's messages look like: octets with their length in front, and the error that refuses a ticket (RFC 4120 §5.9.1).

Invariants: nothing is read here but lengths and two constant texts; what a ticket says is read elsewhere.
It must not know: Kerberos libraries, POP3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

SENDAUTH: Final = b"KRB5_SENDAUTH_V1.0\0"
"""What a client of krb5_sendauth says first."""
APPLICATION: Final = b"KPOPV1.0\0"
"""What a KPOP client says next. ``KPOPV0.1`` is Kerberos 4, which is broken and not served."""

GENERIC: Final = 60
"""KRB_ERR_GENERIC (RFC 4120 §7.5.9), where no other code fits."""

_INTEGER: Final = 0x02
_SEQUENCE: Final = 0x30
_GENERAL_STRING: Final = 0x1B
_GENERALIZED_TIME: Final = 0x18
_CONTEXT: Final = 0xA0
_KRB_ERROR: Final = 0x7E
"""[APPLICATION 30], constructed."""
_HOST_SERVICE: Final = 3
"""NT-SRV-HST (RFC 4120 §7.5.8)."""
_MAX_TEXT: Final = 200


def counted(octets: bytes) -> bytes:
    """A message: its length in four octets, the high one first, then itself."""
    return len(octets).to_bytes(4, "big") + octets


@dataclass(slots=True, frozen=True)
class KerberosError:
    """A KRB-ERROR. ``code`` is one of RFC 4120 §7.5.9; ``now`` is Unix time in seconds; ``realm`` may be empty."""

    code: int
    text: str
    now: float
    realm: str
    service: str
    host: str

    def encode(self) -> bytes:
        """In DER."""
        seconds = datetime.fromtimestamp(int(self.now), UTC)
        name = _integer(_HOST_SERVICE), _sequence(_text(self.service), _text(self.host))
        fields = {
            0: _integer(5),
            1: _integer(30),
            4: _element(_GENERALIZED_TIME, seconds.strftime("%Y%m%d%H%M%SZ").encode()),
            5: _integer(int(self.now % 1 * 1_000_000)),
            6: _integer(self.code),
            9: _text(self.realm),
            10: _sequence(*(_element(_CONTEXT + at, part) for at, part in enumerate(name))),
            11: _text(self.text[:_MAX_TEXT]),
        }
        return _element(
            _KRB_ERROR, _sequence(*(_element(_CONTEXT + at, part) for at, part in fields.items()))
        )


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(value: int) -> bytes:
    return _element(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _text(value: str) -> bytes:
    return _element(_GENERAL_STRING, value.encode("ascii", "replace"))


def _sequence(*parts: bytes) -> bytes:
    return _element(_SEQUENCE, b"".join(parts))
