"""Typed responses, for both sides: status responses with their codes, and untagged data (RFC 3501 §7).

Purpose: what a session sends (``ImapServer.send``) and a client receives. FETCH has a fast path of its own on the server
(``fetch.py``) and is typed here for the client (``FetchData``).

Invariants: texts are one line without control characters, made so by the writer; sets are UidSets; mailbox names are str.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from postroom.model.uidset import UidSet
from postroom.wire.imap.commands import StatusItem
from postroom.wire.imap.values.flags import ReportedFlags
from postroom.wire.imap.values.sections import Section
from postroom.wire.imap.values.sequence import SequenceSet


class Kind(Enum):
    """The status of a status response; value is the wire form. PREAUTH and BYE are untagged only."""

    OK = "OK"
    NO = "NO"
    BAD = "BAD"
    PREAUTH = "PREAUTH"
    BYE = "BYE"

    __hash__ = object.__hash__


# --- response codes (RFC 3501 §7.1, RFC 5530) ------------------------------------------------------------------------


class Word(Enum):
    """Response codes without arguments; value is the wire form."""

    ALERT = "ALERT"
    PARSE = "PARSE"
    READ_ONLY = "READ-ONLY"
    READ_WRITE = "READ-WRITE"
    TRYCREATE = "TRYCREATE"
    UIDNOTSTICKY = "UIDNOTSTICKY"  # RFC 4315 §3
    NOMODSEQ = "NOMODSEQ"  # RFC 7162 §3.1.2.2
    COMPRESSIONACTIVE = "COMPRESSIONACTIVE"  # RFC 4978 §3
    CLOSED = "CLOSED"  # RFC 7162 §3.2.11
    USEATTR = "USEATTR"  # RFC 6154 §3
    TOOBIG = "TOOBIG"  # RFC 7889 §4, RFC 4469 §3
    UNKNOWN_CTE = "UNKNOWN-CTE"
    UNAVAILABLE = "UNAVAILABLE"  # RFC 5530 §3 from here on
    AUTHENTICATIONFAILED = "AUTHENTICATIONFAILED"
    AUTHORIZATIONFAILED = "AUTHORIZATIONFAILED"
    EXPIRED = "EXPIRED"
    PRIVACYREQUIRED = "PRIVACYREQUIRED"
    CONTACTADMIN = "CONTACTADMIN"
    NOPERM = "NOPERM"
    INUSE = "INUSE"
    EXPUNGEISSUED = "EXPUNGEISSUED"
    CORRUPTION = "CORRUPTION"
    UIDREQUIRED = "UIDREQUIRED"
    SERVERBUG = "SERVERBUG"
    CLIENTBUG = "CLIENTBUG"
    CANNOT = "CANNOT"
    LIMIT = "LIMIT"
    OVERQUOTA = "OVERQUOTA"
    ALREADYEXISTS = "ALREADYEXISTS"
    NONEXISTENT = "NONEXISTENT"

    __hash__ = object.__hash__


@dataclass(slots=True, frozen=True)
class UidNext:
    """UIDNEXT."""

    uid: int


@dataclass(slots=True, frozen=True)
class UidValidity:
    """UIDVALIDITY."""

    value: int


@dataclass(slots=True, frozen=True)
class Unseen:
    """UNSEEN: the sequence number of the first unseen message."""

    number: int


@dataclass(slots=True, frozen=True)
class HighestModseq:
    """HIGHESTMODSEQ (RFC 7162 §3.1.2.1)."""

    modseq: int


@dataclass(slots=True, frozen=True)
class Modified:
    """MODIFIED: the numbers, or UIDs, whose STORE failed (RFC 7162 §3.1.3)."""

    numbers: SequenceSet


@dataclass(slots=True, frozen=True)
class PermanentFlags:
    """PERMANENTFLAGS; ``flags.star`` says that keywords can be created."""

    flags: ReportedFlags


@dataclass(slots=True, frozen=True)
class BadCharset:
    """BADCHARSET with the charsets that are supported."""

    charsets: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class CapabilityCode:
    """CAPABILITY in a status response."""

    names: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class AppendUid:
    """APPENDUID (RFC 4315 §3, RFC 3502): the UIDs given, rising."""

    uid_validity: int
    uids: UidSet


@dataclass(slots=True, frozen=True)
class CopyUid:
    """COPYUID (RFC 4315 §3): the n-th of ``source`` became the n-th of ``target``, both rising."""

    uid_validity: int
    source: UidSet
    target: UidSet


@dataclass(slots=True, frozen=True)
class MailboxIdCode:
    """MAILBOXID (RFC 8474 §4.1)."""

    id: str


@dataclass(slots=True, frozen=True)
class OtherCode:
    """Any other code, its argument as sent."""

    name: str
    argument: str | None = None


Code = (
    Word
    | UidNext
    | UidValidity
    | Unseen
    | HighestModseq
    | Modified
    | PermanentFlags
    | BadCharset
    | CapabilityCode
    | AppendUid
    | CopyUid
    | MailboxIdCode
    | OtherCode
)

# --- status responses -------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Tagged:
    """The end of a command: OK, NO or BAD."""

    tag: bytes
    kind: Kind
    text: str
    code: Code | None = None


@dataclass(slots=True, frozen=True)
class Untagged:
    """An untagged status response, the greeting among them; BYE ends the connection (RFC 3501 §7.1.5)."""

    kind: Kind
    text: str
    code: Code | None = None


@dataclass(slots=True, frozen=True)
class Continue:
    """A continuation request: text (IDLE, literals), or ``challenge`` octets, written as base64 (AUTHENTICATE)."""

    text: str = ""
    challenge: bytes | None = field(default=None, repr=False)


# --- untagged data (RFC 3501 §7.2 to §7.4) -----------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class CapabilityData:
    """CAPABILITY, in order."""

    names: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class EnabledData:
    """ENABLED (RFC 5161 §3.2)."""

    names: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class IdData:
    """ID (RFC 2971 §3.2); None for NIL."""

    params: tuple[tuple[str, str | None], ...] | None


@dataclass(slots=True, frozen=True)
class ListData:
    """LIST and, with ``lsub``, LSUB: attributes such as ``\\HasChildren`` in order; ``separator`` None for NIL.

    ``childinfo`` is CHILDINFO's list, None when absent (RFC 5258 §3.5); ``old_name`` what the mailbox was called
    (RFC 9051 §6.3.9.7).
    """

    attributes: tuple[str, ...]
    separator: str | None
    mailbox: str
    childinfo: tuple[str, ...] | None = None
    lsub: bool = False
    old_name: str | None = None


@dataclass(slots=True, frozen=True)
class NamespaceData:
    """NAMESPACE (RFC 2342 §5): (prefix, separator) pairs, None for NIL."""

    personal: tuple[tuple[str, str | None], ...] | None
    others: tuple[tuple[str, str | None], ...] | None = None
    shared: tuple[tuple[str, str | None], ...] | None = None


@dataclass(slots=True, frozen=True)
class StatusData:
    """STATUS; a None value is NIL (APPENDLIMIT, RFC 7889 §3.3), that of MAILBOXID is an identifier."""

    mailbox: str
    values: tuple[tuple[StatusItem, int | str | None], ...]


@dataclass(slots=True, frozen=True)
class SearchData:
    """SEARCH: numbers in order found; ``modseq`` as RFC 7162 §3.1.5 adds."""

    numbers: tuple[int, ...]
    modseq: int | None = None


@dataclass(slots=True, frozen=True)
class SortData:
    """SORT: numbers in the order of the sort (RFC 5256)."""

    numbers: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class ThreadData:
    """THREAD: members as (depth, number), each before those below it; number 0 for a parent that is not there (RFC 5256)."""

    members: tuple[tuple[int, int], ...]


@dataclass(slots=True, frozen=True)
class EsearchData:
    """ESEARCH (RFC 4731 §3.1, RFC 4466 §2.6.2); what was not asked for or found is None; ``all`` is None when empty.
    ``partial`` has the range as it was asked for and what is there of it (RFC 9394 §3.1). ``order`` stands in the place of
    ``all`` where the numbers do not rise: those of a sort (RFC 5267 §3). ``mailbox`` and its
    ``uid_validity`` tell which of several it was (RFC 7377 §2.1)."""

    tag: bytes | None
    uid: bool = False
    min: int | None = None
    max: int | None = None
    all: UidSet | None = None
    count: int | None = None
    modseq: int | None = None
    partial: tuple[str, UidSet | tuple[int, ...]] | None = None
    order: tuple[int, ...] | None = None
    mailbox: str | None = None
    uid_validity: int | None = None


@dataclass(slots=True, frozen=True)
class QuotaData:
    """QUOTA (RFC 9208 §4.2.1): (resource in capitals, used, limit); STORAGE in units of 1024 octets."""

    root: str
    resources: tuple[tuple[str, int, int], ...]


@dataclass(slots=True, frozen=True)
class QuotaRootData:
    """QUOTAROOT (RFC 9208 §4.2.2)."""

    mailbox: str
    roots: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class FlagsData:
    """FLAGS: the flags of the mailbox."""

    flags: ReportedFlags


@dataclass(slots=True, frozen=True)
class Exists:
    """EXISTS."""

    count: int


@dataclass(slots=True, frozen=True)
class RecentCount:
    """RECENT."""

    count: int


@dataclass(slots=True, frozen=True)
class Expunged:
    """EXPUNGE of a sequence number."""

    number: int


@dataclass(slots=True, frozen=True)
class VanishedData:
    """VANISHED: UIDs that are no longer there; ``earlier`` ones were gone before (RFC 7162 §3.2.10)."""

    uids: UidSet
    earlier: bool = False


@dataclass(slots=True, frozen=True)
class BodyData:
    """BODY[section]<origin>: octets or None for NIL."""

    section: Section
    origin: int | None
    data: bytes | None = field(repr=False)


@dataclass(slots=True, frozen=True)
class BinaryData:
    """BINARY[part]<origin>: decoded octets or None for NIL (RFC 3516 §4.3)."""

    part: tuple[int, ...]
    origin: int | None
    data: bytes | None = field(repr=False)


Nested = bytes | int | None | tuple["Nested", ...]
"""ENVELOPE and BODYSTRUCTURE as trees: strings are bytes, NIL is None, numbers are int, lists are tuples."""


@dataclass(slots=True)
class FetchData:
    """FETCH as a client sees it; what the response does not hold is None, and so is NIL. Not frozen: made by the thousand.
    UIDFETCH (RFC 9586 §3.3) has ``uid`` and the number 0."""

    number: int
    uid: int | None = None
    flags: ReportedFlags | None = None
    modseq: int | None = None
    size: int | None = None
    internal_date: tuple[int, int] | None = None
    save_date: tuple[int, int] | None = None
    envelope: Nested = None
    body: Nested = None
    bodystructure: Nested = None
    rfc822: bytes | None = None
    rfc822_header: bytes | None = None
    rfc822_text: bytes | None = None
    email_id: str | None = None
    thread_id: str | None = None
    preview: bytes | None = None
    sections: list[BodyData] = field(default_factory=list)
    binaries: list[BinaryData] = field(default_factory=list)
    binary_sizes: dict[tuple[int, ...], int] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class UnknownData:
    """An untagged response a client does not know, without ``* ``."""

    octets: bytes


Data = (
    CapabilityData
    | EnabledData
    | IdData
    | ListData
    | NamespaceData
    | StatusData
    | SearchData
    | EsearchData
    | SortData
    | ThreadData
    | QuotaData
    | QuotaRootData
    | FlagsData
    | Exists
    | RecentCount
    | Expunged
    | VanishedData
)
"""Untagged data a server sends through ``send``."""

Response = Tagged | Untagged | Continue | Data
"""Everything ``ImapServer.send`` takes."""

ClientEvent = Response | FetchData | UnknownData
"""Everything ``ImapClient.next_event`` gives."""
