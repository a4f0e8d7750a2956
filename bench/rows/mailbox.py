"""IMAP on a mailbox of 10,000 messages: FETCH, SEARCH, SORT, THREAD, STORE, COPY, EXPUNGE; SELECT of 100,000."""

from __future__ import annotations

from bench.rows import BOX, Bench, Figure, Row
from bench.rows.messages import RARE, compose
from bench.server import DOMAIN, PASSWORD, Server

_LOGIN = (
    "fail a NO\nfail b NO\nfail b BAD\nfail c NO\nfail c BAD\nexpect * OK\n"
    f'send a LOGIN big@{DOMAIN} "{PASSWORD}"\\r\\n\nexpect a OK\n'
)
_LOGOUT = "send d LOGOUT\\r\\n\nexpect d OK\n"
_EVERYTHING = "FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE"


def _session(
    bench: Bench, server: Server, steps: str, loops: int = 1, mailbox: str = "INBOX"
) -> tuple[float, float]:
    """Median milliseconds of a loop in a mailbox, and CPU milliseconds of it."""
    script = f"{_LOGIN}send b SELECT {mailbox}\\r\\n\nexpect b OK\nloop\n{steps}end\n{_LOGOUT}"
    found = bench.load.run(server, "imap", 1, loops, script)
    return found.p50_ms, found.cpu_ms


def fill(bench: Bench, server: Server) -> int:
    """Put the messages of the large account into its INBOX, once; returns how many there are."""
    count = bench.loops(BOX, 1_000)
    with bench.once(server, "big") as first:
        if first:
            _append(bench, server, "INBOX", count)
    return count


def _append(bench: Bench, server: Server, mailbox: str, count: int) -> None:
    """Messages that all differ, twenty a command."""
    folder = bench.folder / "big"
    folder.mkdir(exist_ok=True)
    steps = []
    for start in range(0, count, 20):
        path = folder / str(start)
        if not path.exists():
            messages = (compose(4096, number) for number in range(start, min(start + 20, count)))
            path.write_bytes(
                b"".join(b" {%d+}\r\n%b" % (len(octets), octets) for octets in messages) + b"\r\n"
            )
        steps.append(f"send c APPEND {mailbox}\nfile {path}\nexpect c OK\n")
    _prepare(bench, server, "".join(steps))


def _prepare(bench: Bench, server: Server, steps: str) -> None:
    """Play steps that are not measured."""
    bench.load.run(server, "imap", 1, 1, f"{_LOGIN}{steps}loop\nend\n{_LOGOUT}")


def _copies(bench: Bench, server: Server, name: str) -> None:
    """A mailbox with a copy of everything in INBOX."""
    _prepare(
        bench,
        server,
        f"send b CREATE {name}\\r\\n\nexpect b OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n"
        f"send c COPY 1:* {name}\\r\\n\nexpect c OK\n",
    )


def _delete(bench: Bench, server: Server, *names: str) -> None:
    _prepare(bench, server, "".join(f"send c DELETE {name}\\r\\n\nexpect c OK\n" for name in names))


def fetch(items: str, loops: int) -> Row:
    """Messages a second of FETCH 1:*."""

    def measure(bench: Bench, server: Server) -> Figure:
        count = fill(bench, server)
        milliseconds, cpu = _session(bench, server, f"send c FETCH 1:* ({items})\\r\\n\nexpect c OK\n", loops)
        return Figure(count / milliseconds * 1000, cpu)

    name, goal = {
        _EVERYTHING: ("FETCH 1:* with ENVELOPE and BODYSTRUCTURE, 10,000 messages, again", 2.5),
        "BODY.PEEK[]": ("FETCH 1:* BODY.PEEK[], 10,000 messages of 4 KB", 1.5),
        "FLAGS": ("FETCH 1:* FLAGS, 10,000 messages", 1.0),
    }[items]
    return Row(name, "imap", "messages/s", measure, goal)


def first_fetch(bench: Bench, server: Server) -> Figure:
    """The same in a mailbox that was filled a moment ago: nothing has been asked of these messages before."""
    count = bench.loops(BOX, 1_000)
    name = f"first{bench.turn(server, 'first')}"
    _prepare(bench, server, f"send b CREATE {name}\\r\\n\nexpect b OK\n")
    _append(bench, server, name, count)
    steps = f"send c FETCH 1:* ({_EVERYTHING})\\r\\n\nexpect c OK\n"
    milliseconds, cpu = _session(bench, server, steps, mailbox=name)
    _delete(bench, server, name)
    return Figure(count / milliseconds * 1000, cpu)


def order(command: str, goal: float, *, first: bool) -> Row:
    """Milliseconds of SORT or THREAD of everything; the first time in a mailbox that was filled a moment ago."""
    name, _, arguments = command.partition(" ")
    steps = f"send c {name} {arguments} UTF-8 ALL\\r\\n\nexpect c OK\n"

    def measure(bench: Bench, server: Server) -> Figure:
        if not first:
            fill(bench, server)
            return Figure(*_session(bench, server, steps, 10))
        mailbox = f"{name.lower()}{bench.turn(server, name)}"
        _prepare(bench, server, f"send b CREATE {mailbox}\\r\\n\nexpect b OK\n")
        _append(bench, server, mailbox, bench.loops(BOX, 1_000))
        figure = Figure(*_session(bench, server, steps, mailbox=mailbox))
        _delete(bench, server, mailbox)
        return figure

    title = f"{command}, 10,000 messages, {'first time' if first else 'again'}"
    return Row(title, "imap", "ms", measure, goal, more_is_better=False)


def search(key: str) -> Row:
    """Milliseconds of a search for a word that one message has, another one each time."""

    def measure(bench: Bench, server: Server) -> Figure:
        fill(bench, server)
        word = f"{RARE}${{n+{5 * bench.turn(server, key)}}}"
        return Figure(*_session(bench, server, f"send c SEARCH {key} {word}\\r\\n\nexpect c OK\n", 5))

    return Row(f"SEARCH {key}, rare word, 10,000 messages", "imap", "ms", measure, 50, more_is_better=False)


def store(bench: Bench, server: Server) -> Figure:
    """Milliseconds to set a flag on everything (and to take it away again, not timed apart)."""
    fill(bench, server)
    steps = "".join(
        f"send c STORE 1:* {sign}FLAGS.SILENT (\\\\Flagged)\\r\\n\nexpect c OK\n" for sign in "+-"
    )
    milliseconds, cpu = _session(bench, server, steps, 5)
    return Figure(milliseconds / 2, cpu / 2)


def copy(bench: Bench, server: Server) -> Figure:
    """Milliseconds to copy everything into an empty mailbox."""
    fill(bench, server)
    names = [f"copies{number}" for number in range(3)]
    _prepare(bench, server, "".join(f"send b CREATE {name}\\r\\n\nexpect b OK\n" for name in names))
    figure = Figure(*_session(bench, server, "send c COPY 1:* copies${n}\\r\\n\nexpect c OK\n", len(names)))
    _delete(bench, server, *names)
    return figure


def expunge(bench: Bench, server: Server) -> Figure:
    """Milliseconds to expunge a mailbox whose messages are all marked."""
    fill(bench, server)
    _copies(bench, server, "gone")
    _session(
        bench, server, "send c STORE 1:* +FLAGS.SILENT (\\\\Deleted)\\r\\n\nexpect c OK\n", mailbox="gone"
    )
    figure = Figure(*_session(bench, server, "send c EXPUNGE\\r\\n\nexpect c OK\n", mailbox="gone"))
    _delete(bench, server, "gone")
    return figure


def _make(bench: Bench, server: Server, name: str, size: int) -> None:
    """A mailbox of so many messages: a thousand are copied into it, then the mailbox onto itself."""
    script = (
        f"send b CREATE {name}\\r\\n\nexpect b OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n"
        f"send c COPY 1:1000 {name}\\r\\n\nexpect c OK\nsend b SELECT {name}\\r\\n\nexpect b OK\n"
    )
    have = 1_000
    while have < size:
        part = min(have, size - have, 100_000)
        script += f"send c COPY 1:{part} {name}\\r\\n\nexpect c OK\n"
        have += part
    _prepare(bench, server, script)


def select(bench: Bench, server: Server) -> Figure:
    """Milliseconds of SELECT of a mailbox of 100,000, closing it as the last selected one."""
    fill(bench, server)
    name = "size"
    with bench.once(server, name) as first:
        if first:
            _make(bench, server, name, bench.loops(100_000, 2_000))
    steps = f"send b SELECT {name}\\r\\n\nexpect b OK\n"
    return Figure(*_session(bench, server, steps, bench.loops(200, 20)))


ROWS = (
    Row(
        "FETCH 1:* with ENVELOPE and BODYSTRUCTURE, 10,000 messages, first time",
        "imap",
        "messages/s",
        first_fetch,
        2.5,
    ),
    fetch(_EVERYTHING, 5),
    fetch("BODY.PEEK[]", 5),
    fetch("FLAGS", 10),
    search("BODY"),
    search("TEXT"),
    order("SORT (DATE)", 2, first=True),
    order("SORT (DATE)", 1, first=False),
    order("THREAD REFERENCES", 2, first=True),
    order("THREAD REFERENCES", 1, first=False),
    Row("STORE 1:* +FLAGS.SILENT, 10,000 messages", "imap", "ms", store, 1, more_is_better=False),
    Row("COPY 1:*, 10,000 messages", "imap", "ms", copy, 1, more_is_better=False),
    Row("EXPUNGE of 10,000 messages", "imap", "ms", expunge, 1, more_is_better=False),
    Row("SELECT of 100,000 messages", "imap", "ms", select, 1, more_is_better=False),
)
