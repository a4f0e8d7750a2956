"""The commands of IMAP4rev1 and of the extensions spoken here, one frozen dataclass each.

Purpose: what the server's grammar produces and the client's writer takes. Mailbox names are str (decoded), texts are str,
flags are bits and keywords; tags travel beside the command (``events.Request``). ``spec.py`` says when each is legal.

They must not know states, stores or how they are written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntFlag

from postroom.model.flags import FlagChange
from postroom.model.mailbox import SpecialUse
from postroom.model.uidset import UidSet
from postroom.wire.imap.scope import Scope
from postroom.wire.imap.search import SearchKey, SearchReturn
from postroom.wire.imap.sort import SortCriterion, ThreadAlgorithm
from postroom.wire.imap.values.flags import FlagList
from postroom.wire.imap.values.partial import PartialRange
from postroom.wire.imap.values.sections import FetchItem
from postroom.wire.imap.values.sequence import SequenceSet

# --- any state (RFC 3501 §6.1) ---------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Capability:
    """CAPABILITY (RFC 3501 §6.1.1)."""


@dataclass(slots=True, frozen=True)
class Noop:
    """NOOP (RFC 3501 §6.1.2)."""


@dataclass(slots=True, frozen=True)
class Logout:
    """LOGOUT (RFC 3501 §6.1.3): answer with an untagged BYE, then OK; the engine closes after it."""


@dataclass(slots=True, frozen=True)
class Id:
    """ID (RFC 2971 §3.1): what the client says about itself, None for NIL; at most 30 pairs."""

    params: tuple[tuple[str, str | None], ...] | None = None


# --- not authenticated (RFC 3501 §6.2) -------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class StartTls:
    """STARTTLS (RFC 3501 §6.2.1). After the OK nothing is read until ``ImapServer.tls_started``."""


@dataclass(slots=True, frozen=True)
class Authenticate:
    """AUTHENTICATE (RFC 3501 §6.2.2); ``mechanism`` in capitals, ``initial`` decoded, None when absent (RFC 4959)."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(slots=True, frozen=True)
class Login:
    """LOGIN (RFC 3501 §6.2.3)."""

    user: str
    password: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Unauthenticate:
    """UNAUTHENTICATE (RFC 8437 §3): back to the state before the login; never answered with NO."""


# --- authenticated (RFC 3501 §6.3) -----------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Resync:
    """The QRESYNC parameter (RFC 7162 §3.2.5): what the client has of the mailbox.

    ``known`` are its UIDs, None for all; ``matched`` a sample of message numbers with their UIDs, two sets of the same length
    that rise in step, None without one.
    """

    uid_validity: int
    modseq: int
    known: UidSet | None = None
    matched: tuple[UidSet, UidSet] | None = None


@dataclass(slots=True, frozen=True)
class Select:
    """SELECT (RFC 3501 §6.3.1); ``condstore`` is the parameter of RFC 7162 §3.1.8, ``resync`` that of RFC 7162 §3.2.5."""

    mailbox: str
    condstore: bool = False
    resync: Resync | None = None


@dataclass(slots=True, frozen=True)
class Examine:
    """EXAMINE (RFC 3501 §6.3.2)."""

    mailbox: str
    condstore: bool = False
    resync: Resync | None = None


@dataclass(slots=True, frozen=True)
class Create:
    """CREATE (RFC 3501 §6.3.3); ``use`` holds attributes of USE (RFC 6154 §3), unknown ones as given.

    The name may end in the hierarchy separator.
    """

    mailbox: str
    use: tuple[SpecialUse | str, ...] = ()


@dataclass(slots=True, frozen=True)
class Delete:
    """DELETE (RFC 3501 §6.3.4)."""

    mailbox: str


@dataclass(slots=True, frozen=True)
class Rename:
    """RENAME (RFC 3501 §6.3.5)."""

    mailbox: str
    to: str


@dataclass(slots=True, frozen=True)
class Subscribe:
    """SUBSCRIBE (RFC 3501 §6.3.6)."""

    mailbox: str


@dataclass(slots=True, frozen=True)
class Unsubscribe:
    """UNSUBSCRIBE (RFC 3501 §6.3.7)."""

    mailbox: str


class StatusItem(Enum):
    """Items of STATUS (RFC 3501 §6.3.10, RFC 7162 §3.1.7, RFC 7889 §3.3, RFC 8438 §2, RFC 8474 §4.3, for DELETED
    RFC 9051 §6.3.11 and RFC 9208 §4.1.4); value is the wire form."""

    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    HIGHESTMODSEQ = "HIGHESTMODSEQ"
    APPENDLIMIT = "APPENDLIMIT"
    SIZE = "SIZE"
    DELETED = "DELETED"
    DELETED_STORAGE = "DELETED-STORAGE"
    MAILBOXID = "MAILBOXID"

    __hash__ = object.__hash__


class ListSelect(IntFlag):
    """Selection options of LIST (RFC 5258 §3.1, RFC 6154 §2)."""

    NONE = 0
    SUBSCRIBED = 1
    REMOTE = 2
    RECURSIVEMATCH = 4
    SPECIAL_USE = 8


class ListReturn(IntFlag):
    """Return options of LIST (RFC 5258 §3.2, RFC 6154 §2); STATUS travels in ``List.status``."""

    NONE = 0
    SUBSCRIBED = 1
    CHILDREN = 2
    SPECIAL_USE = 4


@dataclass(slots=True, frozen=True)
class List:
    """LIST, plain or extended (RFC 3501 §6.3.8, RFC 5258 §3, RFC 5819 §2).

    ``extended`` tells whether the extended syntax was used (selection options, several patterns or RETURN): only then does an
    empty pattern not ask for the separator (RFC 5258 §3). ``status`` is empty unless RETURN (STATUS (...)) was given.
    """

    reference: str
    patterns: tuple[str, ...]
    select: ListSelect = ListSelect.NONE
    returns: ListReturn = ListReturn.NONE
    status: tuple[StatusItem, ...] = ()
    extended: bool = False


@dataclass(slots=True, frozen=True)
class Lsub:
    """LSUB (RFC 3501 §6.3.9)."""

    reference: str
    pattern: str


@dataclass(slots=True, frozen=True)
class Status:
    """STATUS (RFC 3501 §6.3.10); items without doubles, in the order asked."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(slots=True, frozen=True)
class AppendMessage:
    """One message of APPEND before its octets: flags, date as (seconds since 1970 UTC, zone in minutes) or None, octets;
    ``binary``: announced as literal8, so that NUL may occur (RFC 3516 §4.4); ``utf8``: as UTF8 (~{n}...), which the grammar
    takes for binary, too (RFC 6855 §4)."""

    size: int
    flags: FlagList = FlagList()
    date: tuple[int, int] | None = None
    binary: bool = False
    utf8: bool = False


@dataclass(slots=True, frozen=True)
class Append:
    """APPEND of one or more messages (RFC 3501 §6.3.11, RFC 3502).

    Servers never get it whole: it arrives as AppendBegin, AppendChunk, AppendEnd events. Clients give the octets along.
    """

    mailbox: str
    messages: tuple[tuple[AppendMessage, bytes], ...]


@dataclass(slots=True, frozen=True)
class Namespace:
    """NAMESPACE (RFC 2342 §5)."""


@dataclass(slots=True, frozen=True)
class GetQuota:
    """GETQUOTA (RFC 9208 §4.1.1)."""

    root: str


@dataclass(slots=True, frozen=True)
class GetQuotaRoot:
    """GETQUOTAROOT (RFC 9208 §4.1.2); the mailbox need not exist."""

    mailbox: str


@dataclass(slots=True, frozen=True)
class Enable:
    """ENABLE (RFC 5161 §3.1); names in capitals."""

    names: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Compress:
    """COMPRESS (RFC 4978 §3); DEFLATE is the only mechanism. After the OK nothing may have come before it."""


@dataclass(slots=True, frozen=True)
class Idle:
    """IDLE (RFC 2177 §3): answer with Continue; the event IdleDone ends it and is answered with the tagged reply."""


# --- selected (RFC 3501 §6.4) ----------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Check:
    """CHECK (RFC 3501 §6.4.1)."""


@dataclass(slots=True, frozen=True)
class Close:
    """CLOSE (RFC 3501 §6.4.2)."""


@dataclass(slots=True, frozen=True)
class Unselect:
    """UNSELECT (RFC 3691 §2)."""


@dataclass(slots=True, frozen=True)
class Expunge:
    """EXPUNGE (RFC 3501 §6.4.3)."""


@dataclass(slots=True, frozen=True)
class UidExpunge:
    """UID EXPUNGE (RFC 4315 §2.1)."""

    uids: SequenceSet


@dataclass(slots=True, frozen=True)
class Search:
    """SEARCH and UID SEARCH (RFC 3501 §6.4.4); texts in ``key`` are already decoded from the charset.

    ``returns`` is None without RETURN; with it at least one option, an empty RETURN () being ALL (RFC 4731 §3.1). ``partial``
    is there when PARTIAL is one of them.
    """

    key: SearchKey
    uid: bool = False
    returns: SearchReturn | None = None
    charset: str | None = None
    partial: PartialRange | None = None


@dataclass(slots=True, frozen=True)
class MultiSearch:
    """ESEARCH (RFC 7377); without ``scopes`` the selected mailbox is meant, the rest as in Search."""

    scopes: tuple[Scope, ...]
    key: SearchKey
    returns: SearchReturn | None = None
    charset: str | None = None
    partial: PartialRange | None = None


@dataclass(slots=True, frozen=True)
class Sort:
    """SORT and UID SORT (RFC 5256); ``criteria`` are at least one, the rest as in Search."""

    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    uid: bool = False
    returns: SearchReturn | None = None
    charset: str = "UTF-8"
    partial: PartialRange | None = None


@dataclass(slots=True, frozen=True)
class Thread:
    """THREAD and UID THREAD (RFC 5256)."""

    algorithm: ThreadAlgorithm
    key: SearchKey
    uid: bool = False
    charset: str = "UTF-8"


@dataclass(slots=True, frozen=True)
class Fetch:
    """FETCH and UID FETCH (RFC 3501 §6.4.5); macros expanded, no item twice.

    UID FETCH reports the UID whether or not it is asked for (RFC 3501 §6.4.8), ``changed_since`` (0 to 2**63 - 1,
    RFC 7162 §3.1.4) likewise MODSEQ: the grammar does not add them to ``items``. ``vanished`` comes with UID and
    ``changed_since`` alone (RFC 7162 §3.2.6), ``partial`` with UID (RFC 9394 §3.3).
    """

    numbers: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool = False
    changed_since: int | None = None
    vanished: bool = False
    partial: PartialRange | None = None


@dataclass(slots=True, frozen=True)
class Store:
    """STORE and UID STORE (RFC 3501 §6.4.6); ``unchanged_since`` 0 to 2**63 - 1 (RFC 7162 §3.1.3)."""

    numbers: SequenceSet
    change: FlagChange
    flags: FlagList
    silent: bool = False
    unchanged_since: int | None = None
    uid: bool = False


@dataclass(slots=True, frozen=True)
class Copy:
    """COPY and UID COPY (RFC 3501 §6.4.7)."""

    numbers: SequenceSet
    mailbox: str
    uid: bool = False


@dataclass(slots=True, frozen=True)
class Move:
    """MOVE and UID MOVE (RFC 6851 §3.1)."""

    numbers: SequenceSet
    mailbox: str
    uid: bool = False


Command = (
    Capability
    | Noop
    | Logout
    | Id
    | StartTls
    | Authenticate
    | Login
    | Unauthenticate
    | Select
    | Examine
    | Create
    | Delete
    | Rename
    | Subscribe
    | Unsubscribe
    | List
    | Lsub
    | Status
    | Append
    | Namespace
    | Enable
    | GetQuota
    | GetQuotaRoot
    | Compress
    | Idle
    | Check
    | Close
    | Unselect
    | Expunge
    | UidExpunge
    | Search
    | MultiSearch
    | Sort
    | Thread
    | Fetch
    | Store
    | Copy
    | Move
)
