"""IMAP on a mailbox of 10,000 messages: FETCH, SEARCH, STORE, COPY, EXPUNGE; SELECT of 100,000."""

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
    bench: Bench, server: Server, steps: str, loops: int = 1, before: str = ""
) -> tuple[float, float]:
    """Median milliseconds of a loop, and CPU milliseconds of it."""
    script = f"{_LOGIN}send b SELECT INBOX\\r\\n\nexpect b OK\n{before}loop\n{steps}end\n{_LOGOUT}"
    found = bench.load.run(server, "imap", 1, loops, script)
    return found.p50_ms, found.cpu_ms


def fill(bench: Bench, server: Server) -> int:
    """Put the messages of the large account there, once, by LMTP; returns how many."""
    count = bench.loops(BOX, 1_000)
    with bench.once(server, "big") as first:
        if first:
            _fill(bench, server, count)
    return count


def _fill(bench: Bench, server: Server, count: int) -> None:
    folder = bench.folder / "big"
    folder.mkdir(exist_ok=True)
    steps = []
    for number in range(count):
        path = folder / str(number)
        if not path.exists():
            path.write_bytes(compose(4096, number))
        steps.append(
            f"send MAIL FROM:<sender@elsewhere.test>\\r\\n\nexpect 250\nsend RCPT TO:<big@{DOMAIN}>\\r\\n\nexpect 250\n"
            f"send DATA\\r\\n\nexpect 354\nfile {path}\nsend .\\r\\n\nexpect 250\n"
        )
    begin = "fail 4\nfail 5\nexpect 220\nsend LHLO bench.test\\r\\n\nexpect 250 \nloop\nend\n"
    bench.load.run(server, "lmtp", 1, 1, begin + "".join(steps) + "send QUIT\\r\\n\nexpect 221\n")


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
    """The same the first time: nothing has been asked of these messages before. Once for each server."""
    count = fill(bench, server)
    milliseconds, cpu = _session(bench, server, f"send c FETCH 1:* ({_EVERYTHING})\\r\\n\nexpect c OK\n")
    return Figure(count / milliseconds * 1000, cpu)


def search(key: str) -> Row:
    """Milliseconds of a search for a word in one of a thousand messages."""

    def measure(bench: Bench, server: Server) -> Figure:
        fill(bench, server)
        return Figure(*_session(bench, server, f"send c SEARCH {key} {RARE}\\r\\n\nexpect c OK\n", 5))

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
    script = (
        f"{_LOGIN}send b CREATE copies\\r\\n\nexpect b OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n"
        f"loop\nsend c COPY 1:* copies\\r\\n\nexpect c OK\nend\nsend c SELECT copies\\r\\n\nexpect c OK\n"
        "send c UNSELECT\\r\\n\nexpect c OK\nsend c DELETE copies\\r\\n\nexpect c OK\n" + _LOGOUT
    )
    found = bench.load.run(server, "imap", 1, 1, script)
    return Figure(found.p50_ms, found.cpu_ms)


def expunge(bench: Bench, server: Server) -> Figure:
    """Milliseconds to expunge a mailbox of 10,000 messages that are all marked."""
    fill(bench, server)
    script = (
        f"{_LOGIN}send b CREATE gone\\r\\n\nexpect b OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n"
        "send c COPY 1:* gone\\r\\n\nexpect c OK\nsend c SELECT gone\\r\\n\nexpect c OK\n"
        "send c STORE 1:* +FLAGS.SILENT (\\\\Deleted)\\r\\n\nexpect c OK\nloop\nsend c EXPUNGE\\r\\n\nexpect c OK\nend\n"
        "send c UNSELECT\\r\\n\nexpect c OK\nsend c DELETE gone\\r\\n\nexpect c OK\n" + _LOGOUT
    )
    found = bench.load.run(server, "imap", 1, 1, script)
    return Figure(found.p50_ms, found.cpu_ms)


def _make(bench: Bench, server: Server, name: str, size: int) -> None:
    """A mailbox of so many messages: a thousand are copied into it, then the mailbox onto itself."""
    script = (
        f"{_LOGIN}send b CREATE {name}\\r\\n\nexpect b OK\nsend b SELECT INBOX\\r\\n\nexpect b OK\n"
        f"send c COPY 1:1000 {name}\\r\\n\nexpect c OK\nsend b SELECT {name}\\r\\n\nexpect b OK\n"
    )
    have = 1_000
    while have < size:
        part = min(have, size - have, 100_000)
        script += f"send c COPY 1:{part} {name}\\r\\n\nexpect c OK\n"
        have += part
    bench.load.run(server, "imap", 1, 1, f"{script}loop\nend\n{_LOGOUT}")


def select(messages: int) -> Row:
    """Milliseconds of EXAMINE of a mailbox made by copying a mailbox onto itself."""

    def measure(bench: Bench, server: Server) -> Figure:
        fill(bench, server)
        size = bench.loops(messages, 2_000)
        name = f"size{messages}"
        with bench.once(server, name) as first:
            if first:
                _make(bench, server, name, size)
        found = bench.load.run(
            server, "imap", 1, bench.loops(200, 20),
            f"{_LOGIN}loop\nsend b EXAMINE {name}\\r\\n\nexpect b OK\nend\n{_LOGOUT}",
        )  # fmt: skip
        return Figure(found.p50_ms, found.cpu_ms)

    return Row(
        f"SELECT of {messages:,} messages", "imap", "ms", measure, 1 if messages == 100_000 else None,
        more_is_better=False, alone=messages != 100_000,
    )  # fmt: skip


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
    Row("STORE 1:* +FLAGS.SILENT, 10,000 messages", "imap", "ms", store, 1, more_is_better=False),
    Row("COPY 1:*, 10,000 messages", "imap", "ms", copy, 1, more_is_better=False),
    Row("EXPUNGE of 10,000 messages", "imap", "ms", expunge, 1, more_is_better=False),
    select(1_000),
    select(100_000),
    select(1_000_000),
)
