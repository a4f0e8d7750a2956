"""Random values, commands and responses in the canonical form that parsing gives back."""

from __future__ import annotations

from hypothesis import strategies as st

from postroom.model.flags import FlagChange
from postroom.model.ids import Modseq
from postroom.model.mailbox import SpecialUse
from postroom.model.search import (
    All,
    BodyContains,
    HasFlags,
    HasKeyword,
    HeaderContains,
    InternalDay,
    ModseqAtLeast,
    SavedDay,
    SentDay,
    Size,
    TextContains,
)
from postroom.model.uidset import UidSet
from postroom.wire.imap import commands as c
from postroom.wire.imap import responses as r
from postroom.wire.imap.scope import Scope, ScopeKind
from postroom.wire.imap.search import (
    AllOf,
    Either,
    Negated,
    Numbers,
    ObjectIs,
    Recent,
    SearchKey,
    SearchReturn,
    UidNumbers,
    Within,
)
from postroom.wire.imap.sort import SortCriterion, SortKey, ThreadAlgorithm
from postroom.wire.imap.values.dates import FIRST_DAY, LAST_DAY
from postroom.wire.imap.values.flags import FlagList, ReportedFlags
from postroom.wire.imap.values.partial import PartialRange
from postroom.wire.imap.values.sections import (
    BinarySection,
    BinarySize,
    BodySection,
    FetchAtt,
    Preview,
    Section,
    SectionText,
)
from postroom.wire.imap.values.sequence import SAVED, SequenceSet

number = st.integers(0, 0xFFFFFFFF)
nz_number = st.integers(1, 0xFFFFFFFF)
number63 = st.integers(0, (1 << 63) - 1)
nz_number63 = st.integers(1, (1 << 63) - 1)
ATOM_CHARS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '(){%*"\\]')
atom = st.text(ATOM_CHARS, min_size=1, max_size=12)
word = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789", min_size=1, max_size=10)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
line = st.text([chr(code) for code in range(0x20, 0x7F)], min_size=1, max_size=40).filter(
    lambda value: not value.startswith("[")
)
name = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20)
mailbox = name.map(lambda value: "INBOX" if value.upper() == "INBOX" else value)
tag = st.text(ATOM_CHARS.replace("+", ""), min_size=1, max_size=10).map(str.encode)
flags = st.builds(
    FlagList,
    st.integers(0, 31),
    st.lists(atom, max_size=3, unique_by=str.lower).map(tuple),
)
reported = st.builds(
    ReportedFlags,
    st.integers(0, 31),
    st.lists(atom, max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(["\\Foo", "\\Bar"]), max_size=2, unique=True).map(tuple),
)
sequence_set = st.lists(st.tuples(number, number), min_size=1, max_size=5).map(
    lambda pairs: SequenceSet(tuple(pairs))
) | st.just(SAVED)
partial_range = st.tuples(nz_number, nz_number, st.sampled_from(["", "-"])).map(
    lambda parts: PartialRange(
        min(parts[:2]), max(parts[:2]), parts[2] == "-", f"{parts[2]}{parts[0]}:{parts[2]}{parts[1]}"
    )
)
uid_set = st.lists(nz_number, min_size=1, max_size=6).map(UidSet.of)
day = st.integers(FIRST_DAY, LAST_DAY)
zone = st.integers(-99 * 60 - 59, 99 * 60 + 59)
date_time = st.tuples(st.integers((FIRST_DAY + 5) * 86400, (LAST_DAY - 5) * 86400), zone)
field_name = st.text([chr(code) for code in range(0x21, 0x7F) if code != 0x3A], min_size=1, max_size=12)

sections = st.one_of(
    st.builds(Section, st.lists(nz_number, max_size=4).map(tuple)),
    st.builds(
        Section,
        st.lists(nz_number, max_size=4).map(tuple),
        st.sampled_from([SectionText.HEADER, SectionText.TEXT]),
    ),
    st.builds(Section, st.lists(nz_number, min_size=1, max_size=4).map(tuple), st.just(SectionText.MIME)),
    st.builds(
        Section,
        st.lists(nz_number, max_size=4).map(tuple),
        st.sampled_from([SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT]),
        st.lists(field_name, min_size=1, max_size=4, unique=True).map(tuple),
    ),
)
body_sections = st.builds(BodySection, sections, st.none() | st.tuples(number, nz_number), st.booleans())
parts = st.lists(nz_number, max_size=4).map(tuple)
binary_items = st.builds(
    BinarySection, parts, st.none() | st.tuples(number, nz_number), st.booleans()
) | st.builds(BinarySize, parts)
fetch_items = st.lists(
    st.sampled_from(FetchAtt) | body_sections | st.builds(Preview, st.booleans()) | binary_items,
    min_size=1,
    max_size=6,
    unique=True,
).map(tuple)

object_id = st.text("abcXYZ019_-", min_size=1, max_size=20)
BITS = [1, 2, 4, 8, 16]
leaf_keys: st.SearchStrategy[SearchKey] = st.one_of(
    st.just(All()),
    st.just(Recent()),
    st.builds(HasFlags, st.sampled_from(BITS), st.booleans()),
    st.builds(HasKeyword, atom, st.booleans()),
    st.builds(lambda value: InternalDay(since=value), day),
    st.builds(lambda value: InternalDay(before=value), day),
    st.builds(lambda value: InternalDay(value, value + 1), st.integers(FIRST_DAY, LAST_DAY)),
    st.builds(lambda value: SavedDay(since=value), day),
    st.builds(lambda value: SavedDay(value, value + 1), st.integers(FIRST_DAY, LAST_DAY)),
    st.builds(lambda value: SentDay(since=value), day),
    st.builds(lambda value: SentDay(before=value), day),
    st.builds(lambda value: SentDay(value, value + 1), st.integers(FIRST_DAY, LAST_DAY)),
    st.builds(lambda value: Size(over=value), number),
    st.builds(lambda value: Size(under=value), number),
    st.builds(ModseqAtLeast, number63.map(Modseq)),
    st.builds(HeaderContains, st.sampled_from(["From", "To", "Cc", "Bcc", "Subject"]) | field_name, text),
    st.builds(BodyContains, text),
    st.builds(TextContains, text),
    st.builds(Numbers, sequence_set),
    st.builds(UidNumbers, sequence_set),
    st.builds(Within, nz_number, st.booleans()),
    st.builds(ObjectIs, object_id, st.booleans()),
)
search_keys: st.SearchStrategy[SearchKey] = st.recursive(
    leaf_keys,
    lambda keys: st.one_of(
        st.builds(Negated, keys),
        st.builds(Either, keys, keys),
        st.lists(keys, min_size=2, max_size=4).map(lambda several: AllOf(tuple(several))),
    ),
    max_leaves=12,
)

resyncs = st.builds(
    c.Resync,
    nz_number,
    nz_number63,
    st.none() | uid_set,
    st.none()
    | st.lists(st.tuples(nz_number, nz_number), min_size=1, max_size=5)
    .map(lambda pairs: (UidSet.of([one for one, _ in pairs]), UidSet.of([other for _, other in pairs])))
    .filter(lambda sets: len(sets[0]) == len(sets[1])),
)

status_items = st.lists(st.sampled_from(c.StatusItem), min_size=1, max_size=4, unique=True).map(tuple)


def _is_extended(value: c.List) -> c.List:
    needs = bool(value.select or value.returns or value.status or len(value.patterns) > 1)
    return c.List(
        value.reference, value.patterns, value.select, value.returns, value.status, value.extended or needs
    )


select_options = st.sampled_from(
    [
        c.ListSelect.NONE,
        c.ListSelect.SUBSCRIBED,
        c.ListSelect.REMOTE,
        c.ListSelect.SPECIAL_USE,
        c.ListSelect.SUBSCRIBED | c.ListSelect.RECURSIVEMATCH,
        c.ListSelect.SUBSCRIBED | c.ListSelect.SPECIAL_USE | c.ListSelect.REMOTE,
    ]
)
lists = st.builds(
    c.List,
    mailbox | st.just(""),
    st.lists(mailbox | st.just("") | st.sampled_from(["*", "%", "a/%", "*ä"]), min_size=1, max_size=3).map(
        tuple
    ),
    select_options,
    st.integers(0, 7).map(c.ListReturn),
    st.just(()) | status_items,
    st.booleans(),
).map(_is_extended)

id_params = st.none() | st.lists(
    st.tuples(st.text("abcdefgh-", min_size=1, max_size=20), st.none() | text), max_size=5
).map(tuple)

plain_commands: st.SearchStrategy[c.Command] = st.one_of(
    st.sampled_from(
        [
            c.Capability(),
            c.Noop(),
            c.Logout(),
            c.Namespace(),
            c.Check(),
            c.Close(),
            c.Unselect(),
            c.Unauthenticate(),
            c.Compress(),
        ]
    ),
    st.just(c.Expunge()),
    st.builds(c.Login, text, text),
    st.builds(c.Authenticate, word, st.none() | st.binary(max_size=40)),
    st.builds(c.Id, id_params),
    st.builds(c.Select, mailbox, st.booleans(), st.none() | resyncs),
    st.builds(c.Examine, mailbox, st.booleans(), st.none() | resyncs),
    st.builds(
        c.Create,
        mailbox,
        st.lists(st.sampled_from([*SpecialUse, "\\Odd"]), max_size=3, unique=True).map(tuple),
    ),
    st.builds(c.Delete, mailbox),
    st.builds(c.GetQuota, text),
    st.builds(c.GetQuotaRoot, mailbox),
    st.builds(c.Rename, mailbox, mailbox),
    st.builds(c.Subscribe, mailbox),
    st.builds(c.Unsubscribe, mailbox),
    lists,
    st.builds(c.Lsub, mailbox | st.just(""), mailbox | st.sampled_from(["", "*", "%"])),
    st.builds(c.Status, mailbox, status_items),
    st.builds(c.Enable, st.lists(word, min_size=1, max_size=4, unique=True).map(tuple)),
    st.builds(c.UidExpunge, sequence_set),
    st.builds(
        c.Search,
        search_keys,
        st.booleans(),
        st.none() | st.integers(1, 31).map(SearchReturn),
        st.sampled_from([None, "UTF-8"]),
    ),
    st.builds(
        c.Search,
        search_keys,
        st.booleans(),
        st.sampled_from([SearchReturn.PARTIAL, SearchReturn.PARTIAL | SearchReturn.MIN | SearchReturn.SAVE]),
        st.none(),
        partial_range,
    ),
    st.builds(
        c.MultiSearch,
        st.lists(
            st.builds(Scope, st.sampled_from([kind for kind in ScopeKind if not kind.named]))
            | st.builds(
                Scope,
                st.sampled_from([kind for kind in ScopeKind if kind.named]),
                st.lists(mailbox, min_size=1, max_size=3).map(tuple),
            ),
            max_size=3,
        ).map(tuple),
        search_keys,
        st.none() | st.integers(1, 31).map(SearchReturn),
        st.sampled_from([None, "UTF-8"]),
    ),
    st.builds(
        c.Sort,
        st.lists(
            st.builds(SortCriterion, st.sampled_from(SortKey), st.booleans()), min_size=1, max_size=3
        ).map(tuple),
        search_keys,
        st.booleans(),
        st.none() | st.integers(1, 31).map(SearchReturn),
    ),
    st.builds(c.Thread, st.sampled_from(ThreadAlgorithm), search_keys, st.booleans()),
    st.builds(c.Fetch, sequence_set, fetch_items, st.booleans(), st.none() | number63),
    st.builds(
        c.Fetch, sequence_set, fetch_items, st.just(True), number63, st.just(True), st.none() | partial_range
    ),
    st.builds(c.Fetch, sequence_set, fetch_items, st.just(True), st.none(), st.just(False), partial_range),
    st.builds(
        c.Store,
        sequence_set,
        st.sampled_from(FlagChange),
        flags,
        st.booleans(),
        st.none() | number63,
        st.booleans(),
    ),
    st.builds(c.Copy, sequence_set, mailbox, st.booleans()),
    st.builds(c.Move, sequence_set, mailbox, st.booleans()),
)
appended = st.tuples(flags, st.none() | date_time, st.binary(max_size=300), st.integers(0, 2)).map(
    lambda parts: (c.AppendMessage(len(parts[2]), parts[0], parts[1], parts[3] > 0, parts[3] > 1), parts[2])
)
appends = st.builds(c.Append, mailbox, st.lists(appended, min_size=1, max_size=3).map(tuple))

codes: st.SearchStrategy[r.Code | None] = st.one_of(
    st.none(),
    st.sampled_from(r.Word),
    st.builds(r.UidNext, nz_number),
    st.builds(r.UidValidity, nz_number),
    st.builds(r.Unseen, nz_number),
    st.builds(r.HighestModseq, nz_number63),
    st.builds(r.Modified, sequence_set.filter(lambda each: not each.saved)),
    st.builds(r.PermanentFlags, reported),
    st.builds(r.BadCharset, st.lists(word, max_size=3).map(tuple)),
    st.builds(r.CapabilityCode, st.lists(word, min_size=1, max_size=4).map(tuple)),
    st.builds(r.AppendUid, nz_number, uid_set),
    st.builds(r.CopyUid, nz_number, uid_set, uid_set),
    st.builds(r.MailboxIdCode, object_id),
    st.builds(
        r.OtherCode,
        st.just("X-ODD"),
        st.none() | st.text("abc 123", min_size=1, max_size=8).map(str.strip).filter(bool),
    ),
)
tagged_kinds = st.sampled_from([r.Kind.OK, r.Kind.NO, r.Kind.BAD])
spaces = st.none() | st.lists(
    st.tuples(mailbox | st.just(""), st.none() | st.sampled_from(["/", ".", "\\", '"'])),
    min_size=1,
    max_size=2,
).map(tuple)
responses: st.SearchStrategy[r.Response] = st.one_of(
    st.builds(r.Tagged, tag, tagged_kinds, line, codes),
    st.builds(r.Untagged, st.sampled_from(r.Kind), line, codes),
    st.builds(r.Continue, line),
    st.builds(r.CapabilityData, st.lists(word, min_size=1, max_size=4).map(tuple)),
    st.builds(r.EnabledData, st.lists(word, max_size=3).map(tuple)),
    st.builds(r.IdData, id_params),
    st.builds(
        r.ListData,
        st.lists(st.sampled_from(["\\HasChildren", "\\Noselect", "\\Sent"]), max_size=3).map(tuple),
        st.none() | st.sampled_from(["/", "\\"]),
        mailbox,
        st.none() | st.lists(st.sampled_from(["SUBSCRIBED"]), max_size=1).map(tuple),
        st.booleans(),
        st.none() | mailbox,
    ),
    st.builds(r.NamespaceData, spaces, spaces, spaces),
    st.builds(
        r.StatusData,
        mailbox,
        st.lists(
            st.tuples(
                st.sampled_from([item for item in c.StatusItem if item is not c.StatusItem.MAILBOXID]),
                st.none() | number63,
            )
            | st.tuples(st.just(c.StatusItem.MAILBOXID), object_id),
            max_size=4,
        ).map(tuple),
    ),
    st.builds(r.SearchData, st.lists(nz_number, max_size=6).map(tuple), st.none() | nz_number63),
    st.builds(
        r.EsearchData,
        st.none() | tag,
        st.booleans(),
        st.none() | nz_number,
        st.none() | nz_number,
        st.none() | uid_set,
        st.none() | number,
        st.none() | nz_number63,
        st.none() | st.tuples(partial_range.map(lambda each: each.text), uid_set | st.just(UidSet())),
    ),
    st.builds(
        r.EsearchData,
        st.none() | tag,
        st.booleans(),
        order=st.lists(nz_number, min_size=2, max_size=6, unique=True)
        .filter(lambda one: one != sorted(one))
        .map(tuple),
    ),
    st.builds(r.EsearchData, tag, st.just(True), all=uid_set, mailbox=mailbox, uid_validity=nz_number),
    st.builds(r.SortData, st.lists(nz_number, max_size=6).map(tuple)),
    st.sampled_from(
        [
            r.ThreadData(()),
            r.ThreadData(((0, 2), (0, 3), (1, 6), (2, 4), (3, 23), (2, 44), (3, 7), (4, 96))),
            r.ThreadData(((0, 0), (1, 3), (1, 5), (2, 9), (0, 1))),
        ]
    ),
    st.builds(
        r.QuotaData, text, st.lists(st.tuples(word, number63, number63), min_size=1, max_size=3).map(tuple)
    ),
    st.builds(r.QuotaRootData, mailbox, st.lists(text, max_size=2).map(tuple)),
    st.builds(r.FlagsData, reported),
    st.builds(r.Exists, number),
    st.builds(r.RecentCount, number),
    st.builds(r.Expunged, nz_number),
    st.builds(r.VanishedData, uid_set, st.booleans()),
)
