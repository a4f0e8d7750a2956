"""Known answers: lines of the RFCs' own examples and of real clients, as responses."""

from __future__ import annotations

import pytest

from postroom.model.uidset import UidSet
from postroom.wire.imap import commands as c
from postroom.wire.imap import responses as r
from postroom.wire.imap.data import write_response
from postroom.wire.imap.parse import parse_response
from postroom.wire.imap.values.flags import ReportedFlags
from postroom.wire.imap.values.sections import Section, SectionText
from postroom.wire.imap.values.sequence import SequenceSet


def numbers(*ranges: tuple[int, int]) -> SequenceSet:
    return SequenceSet(ranges)


RESPONSE_LINES: list[tuple[bytes, r.ClientEvent]] = [
    (b"* OK IMAP4rev1 Service Ready", r.Untagged(r.Kind.OK, "IMAP4rev1 Service Ready")),
    (b"* 18 EXISTS", r.Exists(18)),
    (b"* 2 RECENT", r.RecentCount(2)),
    (b"* 44 EXPUNGE", r.Expunged(44)),
    (b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)", r.FlagsData(ReportedFlags(31))),
    (
        b"* OK [UNSEEN 17] Message 17 is the first unseen message",
        r.Untagged(r.Kind.OK, "Message 17 is the first unseen message", r.Unseen(17)),
    ),
    (
        b"* OK [UIDVALIDITY 3857529045] UIDs valid",
        r.Untagged(r.Kind.OK, "UIDs valid", r.UidValidity(3857529045)),
    ),
    (
        b"* OK [PERMANENTFLAGS (\\Deleted \\Seen \\*)] Limited",
        r.Untagged(r.Kind.OK, "Limited", r.PermanentFlags(ReportedFlags(9, star=True))),
    ),
    (b"* OK [HIGHESTMODSEQ 715194045007] x", r.Untagged(r.Kind.OK, "x", r.HighestModseq(715194045007))),
    (
        b"a002 OK [READ-WRITE] SELECT completed",
        r.Tagged(b"a002", r.Kind.OK, "SELECT completed", r.Word.READ_WRITE),
    ),
    (
        b"A003 OK [APPENDUID 38505 3955] APPEND completed",
        r.Tagged(b"A003", r.Kind.OK, "APPEND completed", r.AppendUid(38505, UidSet([(3955, 3955)]))),
    ),
    (
        b"A004 OK [COPYUID 38505 304,319:320 3956:3958] Done",
        r.Tagged(
            b"A004",
            r.Kind.OK,
            "Done",
            r.CopyUid(38505, UidSet([(304, 304), (319, 320)]), UidSet([(3956, 3958)])),
        ),
    ),
    (
        b"d105 OK [MODIFIED 7,9] Conditional STORE failed",
        r.Tagged(b"d105", r.Kind.OK, "Conditional STORE failed", r.Modified(numbers((7, 7), (9, 9)))),
    ),
    (
        b"A004 NO [TRYCREATE] No such mailbox",
        r.Tagged(b"A004", r.Kind.NO, "No such mailbox", r.Word.TRYCREATE),
    ),
    (
        b"a NO [BADCHARSET (US-ASCII UTF-8)] no",
        r.Tagged(b"a", r.Kind.NO, "no", r.BadCharset(("US-ASCII", "UTF-8"))),
    ),
    (b"* BYE Autologout", r.Untagged(r.Kind.BYE, "Autologout")),
    (b"* SEARCH 2 3 6", r.SearchData((2, 3, 6))),
    (b"* SEARCH", r.SearchData(())),
    (b"* SEARCH 2 5 (MODSEQ 917162500)", r.SearchData((2, 5), 917162500)),
    (b'* ESEARCH (TAG "A283") ALL 2,10:11', r.EsearchData(b"A283", all=UidSet([(2, 2), (10, 11)]))),
    (b'* ESEARCH (TAG "A285") UID MIN 7 MAX 3800', r.EsearchData(b"A285", uid=True, min=7, max=3800)),
    (b'* LIST (\\Noselect) "/" ~/Mail/foo', r.ListData(("\\Noselect",), "/", "~/Mail/foo")),
    (b"* LIST () NIL inbox", r.ListData((), None, "INBOX")),
    (b'* LIST () "/" "Foo" ("CHILDINFO" ("SUBSCRIBED"))', r.ListData((), "/", "Foo", ("SUBSCRIBED",))),
    (b'* LSUB () "." #news.comp', r.ListData((), ".", "#news.comp", lsub=True)),
    (
        b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)",
        r.StatusData("blurdybloop", ((c.StatusItem.MESSAGES, 231), (c.StatusItem.UIDNEXT, 44292))),
    ),
    (
        b'* NAMESPACE (("" "/")) NIL (("Public Folders/" "/"))',
        r.NamespaceData((("", "/"),), None, (("Public Folders/", "/"),)),
    ),
    (
        b'* NAMESPACE (("" "/")("#mh/" "/" "X-PARAM" ("FLAG1" "FLAG2"))) NIL NIL',
        r.NamespaceData((("", "/"), ("#mh/", "/"))),
    ),
    (b"* ENABLED CONDSTORE", r.EnabledData(("CONDSTORE",))),
    (
        b"* 9 FETCH (EMAILID (M6d99ac3275bb4e) THREADID NIL PREVIEW {3}\r\nabc)",
        r.FetchData(9, email_id="M6d99ac3275bb4e", preview=b"abc"),
    ),
    (
        b"* 1 FETCH (BINARY[1.2]<3> ~{2}\r\n\0\1 BINARY.SIZE[] 99 BINARY[9] NIL)",
        r.FetchData(
            1,
            binaries=[r.BinaryData((1, 2), 3, b"\0\1"), r.BinaryData((9,), None, None)],
            binary_sizes={(): 99},
        ),
    ),
    (b"* VANISHED 505,507,510,625", r.VanishedData(UidSet.of([505, 507, 510, 625]))),
    (
        b"* VANISHED (EARLIER) 41,43:116",
        r.VanishedData(UidSet([(41, 41), (43, 116)]), earlier=True),
    ),
    (b"* ID NIL", r.IdData(None)),
    (b"+ idling", r.Continue("idling")),
    (b"+", r.Continue("")),
    (b"* XYZZY what (ever", r.UnknownData(b"XYZZY what (ever")),
    (b"* 5 XYZZY", r.UnknownData(b"5 XYZZY")),
    (b"* 4 FETCH (UID 6 MODSEQ (12121230852))", r.FetchData(4, 6, modseq=12121230852)),
    (b"* 12 FETCH (FLAGS (\\Seen) RFC822.SIZE 4286)", r.FetchData(12, flags=ReportedFlags(1), size=4286)),
    (
        b'* 12 FETCH (INTERNALDATE "17-Jul-1996 02:44:25 -0700" BODY[HEADER] {4}\r\na: \r X-GM-LABELS (x "y"))',
        r.FetchData(
            12,
            internal_date=(837596665, -420),
            sections=[r.BodyData(Section((), SectionText.HEADER), None, b"a: \r")],
        ),
    ),
    (
        (
            b'* 1 FETCH (BODY (("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)'
            b'("TEXT" "HTML" NIL NIL NIL "8BIT" 9 1) "MIXED"))'
        ),
        r.FetchData(
            1,
            body=(
                (b"TEXT", b"PLAIN", (b"CHARSET", b"US-ASCII"), None, None, b"7BIT", 1152, 23),
                (b"TEXT", b"HTML", None, None, None, b"8BIT", 9, 1),
                b"MIXED",
            ),
        ),
    ),
    (
        b'* 1 FETCH (ENVELOPE ("d" "s" ((NIL NIL "imap" "cac")) NIL NIL NIL NIL NIL NIL {3}\r\n<a>))',
        r.FetchData(
            1,
            envelope=(
                b"d",
                b"s",
                ((None, None, b"imap", b"cac"),),
                None,
                None,
                None,
                None,
                None,
                None,
                b"<a>",
            ),
        ),
    ),
]


@pytest.mark.parametrize(
    ("line", "response"), RESPONSE_LINES, ids=lambda value: value if isinstance(value, bytes) else ""
)
def test_response_line(line: bytes, response: r.ClientEvent) -> None:
    assert parse_response(line) == response


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (r.Tagged(b"a", r.Kind.OK, "line\r\n* BYE break"), b"a OK line??* BYE break\r\n"),
        (r.Untagged(r.Kind.NO, ""), b"* NO -\r\n"),
        (r.Untagged(r.Kind.OK, "für"), b"* OK f?r\r\n"),
        (r.Continue(challenge=b""), b"+ \r\n"),
        (r.ListData((), "/", 'a"b\\c'), b'* LIST () "/" "a\\"b\\\\c"\r\n'),
        (r.ListData((), "/", "NIL"), b'* LIST () "/" "NIL"\r\n'),
        (
            r.ListData(("\\Sent", "\\HasNoChildren"), "/", "Ünd"),
            b'* LIST (\\Sent \\HasNoChildren) "/" &ANw-nd\r\n',
        ),
        (r.EsearchData(b"x", uid=True, count=0), b'* ESEARCH (TAG "x") UID COUNT 0\r\n'),
        (r.SearchData(()), b"* SEARCH\r\n"),
    ],
)
def test_written_response(response: r.Response, line: bytes) -> None:
    assert write_response(response) == line


def test_star_resolves_to_the_largest_number() -> None:
    assert numbers((4, 0)).resolve(2).ranges == ((2, 4),)
    assert numbers((0, 0)).resolve(9).ranges == ((9, 9),)
    assert not numbers((1, 0), (0, 0)).resolve(0)
    assert numbers((5, 3), (1, 0)).resolve(4).ranges == ((1, 5),)
    assert numbers((1, 4)).resolve(0).ranges == ((1, 4),)


def test_uidfetch_has_a_uid_and_no_number() -> None:
    """RFC 9586 §3.3."""
    found = parse_response(b"* 25996 UIDFETCH (FLAGS (\\Seen) MODSEQ (7))")
    assert isinstance(found, r.FetchData)
    assert (found.number, found.uid, found.modseq) == (0, 25996, 7)
