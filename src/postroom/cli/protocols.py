"""docs/protocols.md: what is spoken, written from the registries of the protocols themselves.

``python -m postroom.cli.protocols`` prints the page; ``--write FILE`` puts it into a file. A test compares the file in the tree
with what this module says, and README.md with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from postroom.wire.imap import table as imap
from postroom.wire.pop3 import table as pop3
from postroom.wire.pop3.spec import Offers, State
from postroom.wire.sasl.registry import MECHANISMS
from postroom.wire.smtp import commands as smtp
from postroom.wire.smtp.extensions import EXTENSIONS as SMTP_EXTENSIONS

HEAD: Final = """\
<!-- Written by `make docs` from the registries in src/postroom/wire: change them there. -->
# Protocols

What postroom announces follows from tables in `wire`; so does this page.
"""

_POP3_OFFERS: Final = Offers(mechanisms=("...",), password=True, stls=True)
_POP3_SOURCES: Final = {
    "RESP-CODES": "RFC 2449",
    "AUTH-RESP-CODE": "RFC 3206",
    "PIPELINING": "RFC 2449",
    "EXPIRE": "RFC 2449",
    "LOGIN-DELAY": "RFC 2449",
    "UTF8": "RFC 6856",
    "LANG": "RFC 6856",
    "IMPLEMENTATION": "RFC 2449",
    "TOP": "RFC 1939",
    "UIDL": "RFC 1939",
    "USER": "RFC 1939",
    "SASL": "RFC 5034",
    "STLS": "RFC 2595",
}


def reference() -> str:
    """The whole page as Markdown."""
    return HEAD + "".join(_sections())


def extensions() -> dict[str, tuple[str, ...]]:
    """What each protocol announces, by the protocol's name."""
    return {
        "smtp": tuple(each.keyword for each in SMTP_EXTENSIONS),
        "pop3": tuple(line.partition(" ")[0] for line in pop3.capabilities(_POP3_OFFERS, State.TRANSACTION)),
        "imap": tuple(each.name for each in imap.EXTENSIONS),
        "sasl": tuple(spec.name for spec in MECHANISMS),
    }


def _sections() -> Iterator[str]:
    yield "\n## SMTP, submission and LMTP\n\nRFC 5321, RFC 6409 and RFC 2033. EHLO (LHLO) announces:\n\n"
    yield from _table(("extension", "source"), ((each.keyword, each.standard) for each in SMTP_EXTENSIONS))
    yield "\nAUTH is announced by submission alone, after TLS (or in clear where a listener allows it).\n"
    yield from _commands(spec.verb for spec in smtp.COMMANDS)
    yield "\n## POP3\n\nRFC 1939. CAPA announces:\n\n"
    yield from _table(
        ("capability", "source"), ((name, _POP3_SOURCES[name]) for name in extensions()["pop3"])
    )
    yield from _commands(spec.name.decode() for spec in pop3.COMMANDS)
    yield "\n## IMAP4rev1 and IMAP4rev2\n\nRFC 3501, RFC 9051 once enabled. CAPABILITY announces, beside STARTTLS, "
    yield "LOGINDISABLED and AUTH=:\n\n"
    yield from _table(("extension", "source"), ((each.name, each.source) for each in imap.EXTENSIONS))
    yield from _commands(imap_name.decode() for imap_name in imap.COMMANDS)
    yield "\n## SASL\n\n"
    yield from _table(("mechanism",), ((spec.name,) for spec in MECHANISMS))
    yield (
        "\nA mechanism is announced only where it can be used: docs/authentication.md says when. SCRAM with -PLUS is bound to "
        "the connection (tls-exporter, RFC 9266) or the server's certificate (tls-server-end-point, RFC 5929 §4).\n"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    for row in rows:
        yield f"| {' | '.join(row)} |\n"


def _commands(names: Iterable[str]) -> Iterator[str]:
    yield f"\nCommands: {', '.join(sorted(set(names)))}.\n"


def main(arguments: Sequence[str]) -> int:
    """Print the page, or write it: ``--write FILE``."""
    match list(arguments):
        case []:
            sys.stdout.write(reference())
        case ["--write", name]:
            Path(name).write_text(reference(), encoding="utf-8")
        case _:
            sys.stderr.write("usage: python -m postroom.cli.protocols [--write FILE]\n")
            return 64
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
