"""The command line, which rows it chooses, and what a run does with servers that fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.__main__ import PEERS, ROWS, arguments, begin, choose_rows, main, measure
from bench.load import Load, LoadFailed
from bench.rows import Bench, Figure, Row
from bench.server import Server, Unavailable


class Fake(Server):
    """A server that does nothing, or does not start."""

    services = frozenset({"imap"})

    def __init__(self, name: str, trouble: str = "") -> None:
        super().__init__(Path("/nonexistent"))
        self.name = name
        self._trouble = trouble

    def start(self) -> None:
        if self._trouble:
            raise Unavailable(self._trouble)


def _bench() -> Bench:
    return Bench(Load.__new__(Load), Path("/nonexistent"), 1.0, set())


def test_by_default_everything_is_measured_three_times() -> None:
    chosen = arguments([])
    assert chosen.rounds == 3
    assert chosen.peers.split(",") == ["dovecot-mdbox", "dovecot-maildir", "postfix", "cyrus"]
    assert choose_rows(chosen.only) == list(ROWS)


def test_rows_are_chosen_by_part_of_their_name() -> None:
    names = [row.name for row in choose_rows(["noop", "expunge"])]
    assert names == ["IMAP NOOP, standing, 16 connections", "EXPUNGE of 10,000 messages"]


def test_names_of_rows_are_different() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_an_unknown_peer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--peers", "dovecot-mdbox,sendmail"]) == 64
    assert "no such peer: sendmail" in capsys.readouterr().err
    assert "sendmail" not in PEERS


def test_a_row_that_no_name_holds_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--peers", "", "--only", "teleport"]) == 64
    assert "no row" in capsys.readouterr().err


def test_a_peer_that_cannot_start_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = Fake("postroom"), Fake("Cyrus", "not installed")
    assert begin([ours, theirs]) == [ours]
    assert "without Cyrus: not installed" in capsys.readouterr().err


def test_postroom_must_start() -> None:
    with pytest.raises(Unavailable):
        begin([Fake("postroom", "no port")])


def test_servers_take_turns_and_a_failure_of_one_does_not_end_the_run() -> None:
    asked: list[str] = []

    def play(_bench: Bench, server: Server) -> Figure:
        asked.append(server.name)
        if server.name == "Cyrus":
            raise LoadFailed("said NO")
        return Figure(1.0)

    rows = [Row("work", "imap", "/s", play), Row("mail in", "smtp", "/s", play)]
    results = measure(_bench(), rows, [Fake("postroom"), Fake("Cyrus")], 2)
    assert asked == ["postroom", "Cyrus", "postroom", "Cyrus"]
    assert results[0].figures == {"postroom": [Figure(1.0), Figure(1.0)]}
    assert results[0].failures == {"Cyrus": "said NO"}
    assert results[1].figures == {}


def test_some_rows_are_for_postroom_alone_or_for_the_first_round() -> None:
    def play(_bench: Bench, _server: Server) -> Figure:
        return Figure(1.0)

    rows = [Row("a", "imap", "/s", play, alone=True), Row("b", "imap", "/s", play, once=True)]
    results = measure(_bench(), rows, [Fake("postroom"), Fake("Cyrus")], 3)
    assert {name: len(found) for name, found in results[0].figures.items()} == {"postroom": 3}
    assert {name: len(found) for name, found in results[1].figures.items()} == {"postroom": 1, "Cyrus": 1}


def test_what_is_prepared_once_is_prepared_again_after_a_failure() -> None:
    bench, server = _bench(), Fake("postroom")

    def fail() -> None:
        with bench.once(server, "mailbox") as first:
            assert first
            raise LoadFailed("half done")

    with pytest.raises(LoadFailed, match="half done"):
        fail()
    with bench.once(server, "mailbox") as first:
        assert first
    with bench.once(server, "mailbox") as first:
        assert not first
    assert [bench.turn(server, "round") for _ in range(3)] == [0, 1, 2]
