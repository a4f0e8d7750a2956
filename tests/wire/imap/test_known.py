"""Known answers: lines of the RFCs' own examples and of real clients, as commands."""

from __future__ import annotations

import pytest
from tests.wire.imap.play import feed

from postroom.model.flags import FlagChange
from postroom.model.ids import Modseq
from postroom.model.mailbox import SpecialUse
from postroom.model.search import (
    HasFlags,
    HasKeyword,
    HeaderContains,
    InternalDay,
    ModseqAtLeast,
    Size,
    TextContains,
)
from postroom.model.uidset import UidSet
from postroom.wire.imap import commands as c
from postroom.wire.imap import responses as r
from postroom.wire.imap.events import Request
from postroom.wire.imap.search import (
    AllOf,
    Either,
    Negated,
    Numbers,
    Recent,
    SearchReturn,
    UidNumbers,
    Within,
)
from postroom.wire.imap.server import ImapServer
from postroom.wire.imap.spec import State
from postroom.wire.imap.table import COMMANDS
from postroom.wire.imap.values.flags import FlagList
from postroom.wire.imap.values.sections import BodySection, FetchAtt, Section, SectionText
from postroom.wire.imap.values.sequence import SequenceSet


def numbers(*ranges: tuple[int, int]) -> SequenceSet:
    return SequenceSet(ranges)


ONE = numbers((1, 1))
ALL_OF_THEM = numbers((1, 0))
FAST = (FetchAtt.FLAGS, FetchAtt.INTERNALDATE, FetchAtt.RFC822_SIZE)

COMMAND_LINES: list[tuple[bytes, c.Command]] = [
    # RFC 3501 §6 and §8
    (b"a001 login mrc secret", c.Login("mrc", "secret")),
    (b'a001 LOGIN SMITH "se\\"sa\\\\me"', c.Login("SMITH", 'se"sa\\me')),
    (b"A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man", c.Login("FRED FOOBAR", "fat man")),
    (b"a002 select inbox", c.Select("INBOX")),
    (b"A932 EXAMINE blurdybloop", c.Examine("blurdybloop")),
    (b"A003 CREATE owatagusiam/", c.Create("owatagusiam/")),
    (b"A683 DELETE blurdybloop", c.Delete("blurdybloop")),
    (b"Z433 RENAME INBOX old-mail", c.Rename("INBOX", "old-mail")),
    (b"A002 SUBSCRIBE #news.comp.mail.mime", c.Subscribe("#news.comp.mail.mime")),
    (b"A002 UNSUBSCRIBE #news.comp.mail.mime", c.Unsubscribe("#news.comp.mail.mime")),
    (b'A101 LIST "" ""', c.List("", ("",))),
    (b'A102 LIST #news.comp.mail.misc ""', c.List("#news.comp.mail.misc", ("",))),
    (b"A202 LIST ~/Mail/ %", c.List("~/Mail/", ("%",))),
    (b'A002 LSUB "#news." "comp.mail.*"', c.Lsub("#news.", "comp.mail.*")),
    (
        b"A042 STATUS blurdybloop (UIDNEXT MESSAGES)",
        c.Status("blurdybloop", (c.StatusItem.UIDNEXT, c.StatusItem.MESSAGES)),
    ),
    (b"a003 fetch 12 full", c.Fetch(numbers((12, 12)), (*FAST, FetchAtt.ENVELOPE, FetchAtt.BODY))),
    (
        b"a004 fetch 12 body[header]",
        c.Fetch(numbers((12, 12)), (BodySection(Section((), SectionText.HEADER)),)),
    ),
    (
        b"A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        c.Fetch(
            numbers((2, 4)),
            (FetchAtt.FLAGS, BodySection(Section((), SectionText.HEADER_FIELDS, ("DATE", "FROM")))),
        ),
    ),
    (b"a FETCH 1 ALL", c.Fetch(ONE, (*FAST, FetchAtt.ENVELOPE))),
    (b"a FETCH 1 FAST", c.Fetch(ONE, FAST)),
    (b"a FETCH 1 BODY", c.Fetch(ONE, (FetchAtt.BODY,))),
    (
        b"a FETCH 1 BODY[4.2.2.2.HEADER]",
        c.Fetch(ONE, (BodySection(Section((4, 2, 2, 2), SectionText.HEADER)),)),
    ),
    (
        b"a FETCH 1 BODY.PEEK[1.MIME]<0.2048>",
        c.Fetch(ONE, (BodySection(Section((1,), SectionText.MIME), (0, 2048), peek=True),)),
    ),
    (b"a005 store 12 +flags \\deleted", c.Store(numbers((12, 12)), FlagChange.ADD, FlagList(8))),
    (b"A003 STORE 2:4 +FLAGS (\\Deleted)", c.Store(numbers((2, 4)), FlagChange.ADD, FlagList(8))),
    (b"a STORE 1 FLAGS ()", c.Store(ONE, FlagChange.REPLACE, FlagList())),
    (
        b"a STORE 1 -flags.silent \\Seen $Junk",
        c.Store(ONE, FlagChange.REMOVE, FlagList(1, ("$Junk",)), silent=True),
    ),
    (b"A003 COPY 2:4 MEETING", c.Copy(numbers((2, 4)), "MEETING")),
    (
        b"A999 UID FETCH 4827313:4828442 FLAGS",
        c.Fetch(numbers((4827313, 4828442)), (FetchAtt.FLAGS,), uid=True),
    ),
    (
        b'A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"',
        c.Search(AllOf((HasFlags(4), InternalDay(since=8797), Negated(HeaderContains("From", "Smith"))))),
    ),
    (b'A283 SEARCH TEXT "string not in mailbox"', c.Search(TextContains("string not in mailbox"))),
    (
        b"A284 SEARCH CHARSET UTF-8 TEXT {6+}\r\n\xd0\xb4\xd0\xbe\xd0\xbc",
        c.Search(TextContains("дом"), charset="UTF-8"),
    ),
    (b"a SEARCH NEW", c.Search(AllOf((Recent(), HasFlags(1, present=False))))),
    (b"a SEARCH OLD", c.Search(Negated(Recent()))),
    (b"a SEARCH (1:3)", c.Search(Numbers(numbers((1, 3))))),
    (
        b"a SEARCH OR UNSEEN (KEYWORD x 2,4:*)",
        c.Search(
            Either(HasFlags(1, present=False), AllOf((HasKeyword("x"), Numbers(numbers((2, 2), (4, 0))))))
        ),
    ),
    (b'a SEARCH ON "7-Feb-1994"', c.Search(InternalDay(8803, 8804))),
    (b"a SEARCH HEADER Message-ID <x@y>", c.Search(HeaderContains("Message-ID", "<x@y>"))),
    # extensions
    (b"A01 AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=", c.Authenticate("PLAIN", b"test\0test\0test")),
    (b"A01 AUTHENTICATE EXTERNAL =", c.Authenticate("EXTERNAL", b"")),
    (
        b'a023 ID ("name" "sodr" "version" "19.34" "vendor" NIL)',
        c.Id((("name", "sodr"), ("version", "19.34"), ("vendor", None))),
    ),
    (b"a042 ID NIL", c.Id(None)),
    (b"t2 ENABLE CONDSTORE X-GOOD-IDEA", c.Enable(("CONDSTORE", "X-GOOD-IDEA"))),
    (b"A001 NAMESPACE", c.Namespace()),
    (b"A002 IDLE", c.Idle()),
    (b"a UNSELECT", c.Unselect()),
    (b"A003 UID EXPUNGE 3000:3002", c.UidExpunge(numbers((3000, 3002)))),
    (b"a UID MOVE 42:69 foo", c.Move(numbers((42, 69)), "foo", uid=True)),
    (
        b"A282 SEARCH RETURN (MIN COUNT) FLAGGED",
        c.Search(HasFlags(4), returns=SearchReturn.MIN | SearchReturn.COUNT),
    ),
    (b"A283 SEARCH RETURN () FLAGGED", c.Search(HasFlags(4), returns=SearchReturn.ALL)),
    (
        b"A285 UID SEARCH RETURN (MIN MAX) 1:5000",
        c.Search(Numbers(numbers((1, 5000))), uid=True, returns=SearchReturn.MIN | SearchReturn.MAX),
    ),
    (
        b"a1 SEARCH UNSEEN YOUNGER 259200",
        c.Search(AllOf((HasFlags(1, present=False), Within(259200, older=False)))),
    ),
    (
        b'A03 LIST () "" "%" RETURN (CHILDREN)',
        c.List("", ("%",), returns=c.ListReturn.CHILDREN, extended=True),
    ),
    (
        b'A05 LIST (REMOTE SUBSCRIBED) "" "*"',
        c.List("", ("*",), c.ListSelect.REMOTE | c.ListSelect.SUBSCRIBED, extended=True),
    ),
    (b'BBB LIST "" ("INBOX" "Drafts" "Sent/%")', c.List("", ("INBOX", "Drafts", "Sent/%"), extended=True)),
    (
        b'C04 LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"',
        c.List("", ("%",), c.ListSelect.SUBSCRIBED | c.ListSelect.RECURSIVEMATCH, extended=True),
    ),
    (
        b'A01 LIST "" % RETURN (STATUS (MESSAGES UNSEEN))',
        c.List("", ("%",), status=(c.StatusItem.MESSAGES, c.StatusItem.UNSEEN), extended=True),
    ),
    (b't3 LIST (SPECIAL-USE) "" "*"', c.List("", ("*",), c.ListSelect.SPECIAL_USE, extended=True)),
    (
        b"t2 CREATE MySpecial (USE (\\Drafts \\Sent))",
        c.Create("MySpecial", (SpecialUse.DRAFTS, SpecialUse.SENT)),
    ),
    (b"t1 STATUS INBOX (APPENDLIMIT)", c.Status("INBOX", (c.StatusItem.APPENDLIMIT,))),
    (b"A142 SELECT INBOX (CONDSTORE)", c.Select("INBOX", condstore=True)),
    (
        b"A03 SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541))",
        c.Select(
            "INBOX",
            resync=c.Resync(67890007, 90060115194045000, UidSet([(41, 211), (214, 541)])),
        ),
    ),
    (
        b"B04 EXAMINE INBOX (CONDSTORE QRESYNC (67890007 20 1:29997 (5000,9990:9991 15000,29970,29973)))",
        c.Examine(
            "INBOX",
            True,
            c.Resync(
                67890007,
                20,
                UidSet([(1, 29997)]),
                (UidSet([(5000, 5000), (9990, 9991)]), UidSet.of([15000, 29970, 29973])),
            ),
        ),
    ),
    (
        b"a103 UID STORE 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)",
        c.Store(
            numbers((6, 6), (4, 4), (8, 8)),
            FlagChange.ADD,
            FlagList(8),
            silent=True,
            unchanged_since=12121230045,
            uid=True,
        ),
    ),
    (
        b"s100 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)",
        c.Fetch(ALL_OF_THEM, (FetchAtt.FLAGS,), uid=True, changed_since=12345),
    ),
    (b'a SEARCH MODSEQ "/flags/\\\\draft" all 620162338', c.Search(ModseqAtLeast(Modseq(620162338)))),
    (
        b"t SEARCH OR NOT MODSEQ 720162338 LARGER 50000",
        c.Search(Either(Negated(ModseqAtLeast(Modseq(720162338))), Size(over=50000))),
    ),
    # names
    (b"a SELECT &U,BTFw-", c.Select("台北")),
    (b'a SELECT "~peter/mail/&U,BTFw-/&ZeVnLIqe-"', c.Select("~peter/mail/台北/日本語")),
    (b"a SELECT Entw&APw-rfe", c.Select("Entwürfe")),
    (b"a SELECT A&-B", c.Select("A&B")),
    (b"a SELECT &2D3eAA-", c.Select("\U0001f600")),
    (b"a SELECT iNbOx", c.Select("INBOX")),
    (b"a SELECT inbox/x", c.Select("inbox/x")),
    (b"a SELECT nil", c.Select("nil")),
    # clients
    (
        b'2 list (subscribed) "" "*" return (special-use)',
        c.List("", ("*",), c.ListSelect.SUBSCRIBED, c.ListReturn.SPECIAL_USE, extended=True),
    ),
    (
        b"A003 UID SEARCH 1:* NOT DELETED",
        c.Search(AllOf((Numbers(ALL_OF_THEM), Negated(HasFlags(8)))), uid=True),
    ),
    (b'a UID SEARCH HEADER "X-OfflineIMAP" "77"', c.Search(HeaderContains("X-OfflineIMAP", "77"), uid=True)),
    (b"a UID SEARCH UID 5:*", c.Search(UidNumbers(numbers((5, 0))), uid=True)),
    (b'a SEARCH SUBJECT "f\xc3\xbcr"', c.Search(HeaderContains("Subject", "für"))),
    (b"a STORE 1 FLAGS (\\Seen \\Recent)", c.Store(ONE, FlagChange.REPLACE, FlagList(1))),
]


@pytest.mark.parametrize(
    ("line", "command"), COMMAND_LINES, ids=lambda value: value if isinstance(value, bytes) else ""
)
def test_command_line(line: bytes, command: c.Command) -> None:
    engine = ImapServer(tls=True)
    words = line.upper().split(b" ", 3)
    spec = COMMANDS.get(words[1]) or COMMANDS[b" ".join(words[1:3])]
    engine.state = State.SELECTED if spec.states & State.SELECTED else State.NOT_AUTHENTICATED

    def ignore(engine: ImapServer, event: object) -> None:
        assert isinstance(event, Request)
        engine.send(r.Tagged(event.tag, r.Kind.NO, "noted"))

    events, _ = feed(engine, [line + b"\r\n"], ignore)
    assert [event.command for event in events if isinstance(event, Request)] == [command]


BAD_LINES = [
    b"a FETCH 1",
    b"a FETCH 1 ()",
    b"a FETCH 1 (FLAGS  UID)",
    b"a FETCH 1 (FLAGS UID",
    b"a FETCH 1 (ALL)",
    b"a FETCH 1 BODY[MIME]",
    b"a FETCH 1 BODY[0]",
    b"a FETCH 1 BODY[1.]",
    b"a FETCH 1 BODY[HEADER.FIELDS]",
    b"a FETCH 1 BODY[HEADER.FIELDS ()]",
    b"a FETCH 1 BODY[HEADER.FIELDS (a:b)]",
    b"a FETCH 1 BODY[]<0>",
    b"a FETCH 1 BODY[]<0.0>",
    b"a FETCH 1 BODY[]<-1.5>",
    b"a FETCH 1 RFC822[]",
    b"a FETCH 1 FLAGS (CHANGEDSINCE -1)",
    b"a FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)",
    b"a FETCH 1 FLAGS (FOO 1)",
    b"a FETCH 1 FLAGS FLAGS",
    b"a STORE 1 (\\Seen)",
    b"a STORE 1 *FLAGS (\\Seen)",
    b"a STORE 1 +FLAGS (\\*)",
    b"a STORE 1 +FLAGS (a b",
    b"a STORE 1 +FLAGS",
    b"a STORE 1 (UNCHANGEDSINCE x) FLAGS ()",
    b"a SEARCH",
    b"a SEARCH ()",
    b"a SEARCH FROM",
    b"a SEARCH OR SEEN",
    b"a SEARCH NOT",
    b"a SEARCH LARGER x",
    b"a SEARCH LARGER 4294967296",
    b"a SEARCH ON 31-Feb-2020",
    b"a SEARCH ON 1-Foo-2020",
    b"a SEARCH ON 1-Jan-20",
    b"a SEARCH RETURN (FOO) ALL",
    b"a SEARCH RETURN MIN ALL",
    b"a SEARCH YOUNGER 0",
    b"a SEARCH CHARSET US-ASCII TEXT {2+}\r\n\xc3\xa4",
    b"a SEARCH CHARSET UTF-8 TEXT {1+}\r\n\xc3",
    b"a SEARCH MODSEQ",
    b"a SEARCH (ALL",
    b"a SEARCH ALL)",
    b"a LIST",
    b"a LIST x",
    b'a LIST (RECURSIVEMATCH) "" *',
    b'a LIST (FOO) "" *',
    b'a LIST "" * RETURN (FOO)',
    b'a LIST "" * RETURN (STATUS)',
    b'a LIST "" ()',
    b"a STATUS INBOX",
    b"a STATUS INBOX ()",
    b"a STATUS INBOX (FOO)",
    b"a SELECT INBOX (FOO)",
    b"a SELECT INBOX (CONDSTORE",
    b"a SELECT INBOX (QRESYNC (1 1) QRESYNC (1 1))",
    b"a SELECT INBOX (QRESYNC (1 0))",
    b"a SELECT INBOX (QRESYNC (0 1))",
    b"a SELECT INBOX (QRESYNC (1 1 1:*))",
    b"a SELECT INBOX (QRESYNC (1 1 1:9 (1:3 1:2)))",
    b"a SELECT INBOX (QRESYNC (1 1 (1:2 1:2) 1:9))",
    b"a UID FETCH 1 (FLAGS) (VANISHED)",
    b"a FETCH 1 (FLAGS) (CHANGEDSINCE 5 VANISHED)",
    b"a CREATE x (USE \\Sent)",
    b"a CREATE x (FOO)",
    b"a ENABLE",
    b"a ID",
    b'a ID ("name")',
    b'a ID ("name" "x" "y" "z"',
    b"a ID (" + b" ".join([b'"a" "b"'] * 31) + b")",
    b"a COPY 1",
    b"a COPY 1 x y",
    b"a UID EXPUNGE",
    b"a EXPUNGE 1",
    b"a RENAME x",
    b"a IDLE now",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_line(line: bytes) -> None:
    engine = ImapServer(tls=True)
    engine.state = State.SELECTED
    events, output = feed(engine, [line + b"\r\n"])
    assert events == []
    assert output.startswith(b"a BAD ")
