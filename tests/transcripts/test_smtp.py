"""Every SMTP, submission and LMTP transcript, on sessions in process, whole and split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.store.directory import Directory
from postroom.wire.errors import ParseError
from postroom.wire.smtp.commands import BY_VERB, parse_command, write_command
from postroom.wire.smtp.replies import ReplyReader
from tests.transcripts.harness import SPLITTERS, Case, FakeClock, Play, cases
from tests.transcripts.smtp_scene import SmtpScene, make_directory

CASES = cases("smtp") + cases("lmtp")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    made = make_directory(Path(tmp_path_factory.mktemp("directory")) / "directory.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path.parent.name}-{case.path.stem}")
async def test_transcript(case: Case, splitter: str, directory: Directory) -> None:
    if "whole" in case.needs and splitter != "whole":
        return
    clock = FakeClock()
    scene = SmtpScene(case, directory, clock)
    await scene.prepare()
    await Play(case, scene, clock, SPLITTERS[splitter]).run()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path.parent.name}-{case.path.stem}")
def test_the_cores_read_both_directions(case: Case) -> None:
    """Every reply of a transcript is one to the client's reader; every command that can be read is written alike."""
    reader = ReplyReader()
    whole = True
    for step in case.steps:
        line = step.octets.removesuffix(b"\r\n")
        if step.kind == "*":
            # Lines are passed over, the beginning of this reply among them.
            reader, whole = ReplyReader(), True
        elif step.kind == "S":
            reply = reader.feed(line)
            whole = reply is not None
            assert reply is None or 200 <= reply.code < 600
        elif step.kind == "C":
            assert whole, f"{case.path}:{step.line}: the client speaks inside a reply"
            try:
                command = parse_command(line)
            except ParseError:
                continue
            assert parse_command(write_command(command)[:-2]) == command


def test_every_verb_has_a_transcript() -> None:
    said = {
        step.octets.split()[0].upper()
        for case in CASES
        for step in case.steps
        if step.kind == "C" and step.octets.split()
    }
    assert set(BY_VERB) <= said


def test_every_reply_code_of_the_error_table_has_a_transcript() -> None:
    from postroom.session.smtp_replies import REPLIES

    said = {
        (step.octets[:3].decode(), step.octets[4:].split(b" ")[0].decode())
        for case in CASES
        for step in case.steps
        if step.kind == "S" and len(step.octets) > 8
    }
    wanted = {(str(code), enhanced) for code, enhanced in REPLIES.values()}
    # 5.0.0 is for errors nobody has thought of, 504 and 538 5.7.11 at AUTH are the engine's and the registry's.
    assert wanted - said - {("554", "5.0.0")} == set()
