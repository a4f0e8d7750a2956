"""Real messages for tests, read in place.

Purpose: ``messages()`` gives every message of the shared corpus as CRLF octets, the way SMTP would bring it, under a
name that tells where it comes from. Where the corpus is not at hand a few messages of our own stand in.

The corpus lies beside the repository (``../shared``) or where POSTROOM_SHARED points. It is never copied.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FROM_LINE = re.compile(rb"(?:^|(?<=\n\n)|(?<=\r\n\r\n))From [^\r\n]*\r?\n")
_LONE_LF = re.compile(rb"(?<!\r)\n")
_LONE_CR = re.compile(rb"\r(?!\n)")


def shared() -> Path | None:
    """The folder of shared material, None when it is not there."""
    path = Path(os.environ.get("POSTROOM_SHARED") or ROOT.parent / "shared")
    return path if (path / "corpus").is_dir() else None


def crlf(octets: bytes) -> bytes:
    """Octets with every line end CRLF; a lone CR becomes one too, for SMTP cannot carry it."""
    if b"\r" in octets:
        octets = _LONE_CR.sub(b"\r\n", octets)
    return _LONE_LF.sub(b"\r\n", octets)


def _split_mbox(octets: bytes) -> list[bytes]:
    """The messages of an mbox file, without their "From " lines and the blank line that separates them."""
    starts = [match.span() for match in _FROM_LINE.finditer(octets)]
    ends = [start for start, _ in starts[1:]] + [len(octets)]
    out = []
    for (_, begin), end in zip(starts, ends, strict=True):
        message = octets[begin:end]
        for blank in (b"\r\n\r\n", b"\n\n"):
            if message.endswith(blank):
                message = message[: -len(blank) // 2]
                break
        out.append(message)
    return out


@cache
def messages() -> list[tuple[str, bytes]]:
    """(name, octets) of every message, in a fixed order."""
    base = shared()
    if base is None:
        return [(f"own/{number}", crlf(text)) for number, text in enumerate(OWN)]
    corpus = base / "corpus"
    found: list[tuple[str, bytes]] = []
    for path in sorted(corpus.rglob("*")):
        if not path.is_file() or path.name == "README.md" or path.name.startswith(("LICENSE", "NOTICE")):
            continue
        octets = path.read_bytes()
        name = path.relative_to(corpus).as_posix()
        if path.suffix == ".mbox":
            found += [(f"{name}#{n}", crlf(one)) for n, one in enumerate(_split_mbox(octets))]
            continue
        if name.startswith("spamassassin/") and octets.startswith(b"From "):
            octets = octets.partition(b"\n")[2]
        found.append((name, crlf(octets)))
    return found


OWN = (
    (
        b"From: Ada <ada@example.org>\nTo: bob@example.net\nSubject: Hello\nDate: Tue, 5 Mar 2002 12:00:00 +0100\n"
        b"Message-ID: <1@example.org>\n\nA short text.\nWith two lines.\n"
    ),
    (
        b'From: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\nTo: Team: a@example.net, "B, C" <b@example.net>;\n'
        b"Subject: Re: [list] =?iso-8859-1?B?R3L832U=?=\nDate: 5 Mar 02 12:00 EST\nMessage-ID: <2@example.org>\n"
        b"In-Reply-To: <1@example.org>\nReferences: <0@example.org> <1@example.org>\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/mixed; boundary="=_b"\n\nfor old readers\n--=_b\n'
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n\n"
        b"--=_b\nContent-Type: application/octet-stream; name=a.bin\nContent-Transfer-Encoding: base64\n"
        b"Content-Disposition: attachment; filename*=utf-8''%C3%A4.bin\n\nAAECAwQF\n--=_b--\nafter\n"
    ),
    (
        b"From: list@example.org\nSubject: digest\nMIME-Version: 1.0\nContent-Type: multipart/digest; boundary=d\n\n"
        b"--d\n\nFrom: a@example.org\nSubject: one\n\nfirst\n--d\n\nFrom: b@example.org\nSubject: two\n\nsecond\n--d--\n"
    ),
    (
        b"From: a@example.org\nSubject: outer\nContent-Type: message/rfc822\n\nFrom: b@example.org\nSubject: inner\n"
        b"Content-Type: multipart/alternative; boundary=x\n\n--x\n\nplain\n--x\nContent-Type: text/html\n\n<p>html</p>\n--x--\n"
    ),
    (
        b"From: a@example.org\nSubject: no end\nContent-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: "
        b"multipart/alternative; boundary=r\n\n--r\n\ninner\n--q\n\nouter"
    ),
    b"Subject: only a header\n",
    b"\n.leading dot\n..two dots\n\x80\xff octets\n",
)
