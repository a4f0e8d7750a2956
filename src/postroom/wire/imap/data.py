"""Untagged data as a server writes it (RFC 3501 §7.2 to §7.4); ``parse.py`` holds the client's half.

Writers give the whole line, "* " and CRLF included. FETCH has its own file.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any, Final

from postroom.wire.imap.codes import KIND_WORDS, write_code, write_status, write_text
from postroom.wire.imap.commands import StatusItem
from postroom.wire.imap.ext.enable import write_enabled
from postroom.wire.imap.ext.esearch import write_esearch
from postroom.wire.imap.ext.id import write_id_data
from postroom.wire.imap.ext.namespace import write_namespace
from postroom.wire.imap.ext.qresync import write_vanished
from postroom.wire.imap.ext.quota import write_quota, write_quota_root
from postroom.wire.imap.ext.sort import write_sort_data
from postroom.wire.imap.ext.thread import write_thread_data
from postroom.wire.imap.responses import (
    CapabilityData,
    Continue,
    EnabledData,
    EsearchData,
    Exists,
    Expunged,
    FlagsData,
    IdData,
    ListData,
    NamespaceData,
    QuotaData,
    QuotaRootData,
    RecentCount,
    Response,
    SearchData,
    SortData,
    StatusData,
    Tagged,
    ThreadData,
    Untagged,
    VanishedData,
)
from postroom.wire.imap.values.atoms import write_astring, write_quoted, write_utf8_string
from postroom.wire.imap.values.flags import write_reported_flags
from postroom.wire.imap.values.mailbox import encode_mailbox, encode_utf8_mailbox

STATUS_WORDS: Final = {item: item.value.encode("ascii") for item in StatusItem}


Names = Callable[[str], bytes]
"""Writes a mailbox name."""


def _utf7(name: str) -> bytes:
    return write_astring(encode_mailbox(name))


def _utf8(name: str) -> bytes:
    octets = encode_utf8_mailbox(name)
    return write_astring(octets) if octets.isascii() else write_utf8_string(octets)


def write_response(response: Response) -> bytes:
    """Any response, its CRLF included."""
    return WRITERS[type(response)](response)


def write_utf8_response(response: Response) -> bytes:
    """The same for a client that takes names in UTF-8 (RFC 6855 §3)."""
    return UTF8_WRITERS[type(response)](response)


def _write_tagged(response: Tagged) -> bytes:
    if response.code is None:
        return b"%b %b %b\r\n" % (response.tag, KIND_WORDS[response.kind], write_text(response.text))
    return b"%b %b [%b] %b\r\n" % (
        response.tag,
        KIND_WORDS[response.kind],
        write_code(response.code),
        write_text(response.text),
    )


def _write_untagged(response: Untagged) -> bytes:
    return write_status(b"*", response.kind, response.code, response.text)


def _write_continue(response: Continue) -> bytes:
    if response.challenge is not None:
        return b"+ " + binascii.b2a_base64(response.challenge, newline=False) + b"\r\n"
    return b"+ " + write_text(response.text) + b"\r\n"


def _write_capability(data: CapabilityData) -> bytes:
    return b"* CAPABILITY " + " ".join(data.names).encode("ascii") + b"\r\n"


def write_list(data: ListData, name: Names = _utf7) -> bytes:
    """mailbox-list (RFC 3501 §7.2.2, RFC 5258 §6 for CHILDINFO, RFC 9051 §6.3.9.7 for OLDNAME)."""
    separator = b"NIL" if data.separator is None else write_quoted(data.separator.encode("ascii"))
    line = b"* %b (%b) %b %b" % (
        b"LSUB" if data.lsub else b"LIST",
        " ".join(data.attributes).encode("ascii"),
        separator,
        name(data.mailbox),
    )
    more = []
    if data.childinfo is not None:
        options = b" ".join(write_quoted(option.encode("ascii")) for option in data.childinfo)
        more.append(b'"CHILDINFO" (' + options + b")")
    if data.old_name is not None:
        more.append(b'"OLDNAME" (' + name(data.old_name) + b")")
    return line + (b" (" + b" ".join(more) + b")\r\n" if more else b"\r\n")


def _write_status_data(data: StatusData, name: Names = _utf7) -> bytes:
    values = [b"%b %b" % (STATUS_WORDS[item], _status_value(value)) for item, value in data.values]
    return b"* STATUS %b (%b)\r\n" % (name(data.mailbox), b" ".join(values))


def _status_value(value: int | str | None) -> bytes:
    if value is None:
        return b"NIL"
    return b"%d" % value if isinstance(value, int) else b"(%b)" % value.encode("ascii")


def _write_quota_root(data: QuotaRootData, name: Names = _utf7) -> bytes:
    return b"* " + write_quota_root(data, name(data.mailbox)) + b"\r\n"


def _write_esearch(data: EsearchData, name: Names = _utf7) -> bytes:
    return b"* " + write_esearch(data, b"" if data.mailbox is None else name(data.mailbox)) + b"\r\n"


def _write_search(data: SearchData) -> bytes:
    line = b"* SEARCH"
    if data.numbers:
        line += b" " + " ".join(map(str, data.numbers)).encode("ascii")
    if data.modseq is not None:
        line += b" (MODSEQ %d)" % data.modseq
    return line + b"\r\n"


WRITERS: Final[dict[type[Any], Callable[[Any], bytes]]] = {
    Tagged: _write_tagged,
    Untagged: _write_untagged,
    Continue: _write_continue,
    CapabilityData: _write_capability,
    EnabledData: lambda data: b"* " + write_enabled(data) + b"\r\n",
    IdData: lambda data: b"* " + write_id_data(data) + b"\r\n",
    ListData: write_list,
    NamespaceData: lambda data: b"* " + write_namespace(data) + b"\r\n",
    StatusData: _write_status_data,
    SearchData: _write_search,
    SortData: lambda data: b"* " + write_sort_data(data) + b"\r\n",
    ThreadData: lambda data: b"* " + write_thread_data(data) + b"\r\n",
    EsearchData: _write_esearch,
    QuotaData: lambda data: b"* " + write_quota(data) + b"\r\n",
    QuotaRootData: _write_quota_root,
    FlagsData: lambda data: b"* FLAGS " + write_reported_flags(data.flags) + b"\r\n",
    Exists: lambda data: b"* %d EXISTS\r\n" % data.count,
    RecentCount: lambda data: b"* %d RECENT\r\n" % data.count,
    Expunged: lambda data: b"* %d EXPUNGE\r\n" % data.number,
    VanishedData: lambda data: b"* " + write_vanished(data) + b"\r\n",
}

UTF8_WRITERS: Final[dict[type[Any], Callable[[Any], bytes]]] = {
    **WRITERS,
    ListData: lambda data: write_list(data, _utf8),
    StatusData: lambda data: _write_status_data(data, _utf8),
    QuotaRootData: lambda data: _write_quota_root(data, _utf8),
    EsearchData: lambda data: _write_esearch(data, _utf8),
}
