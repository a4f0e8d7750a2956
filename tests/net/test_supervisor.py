"""The parent process, run in a process of its own so that its signals and forks stay there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

PROGRAM = """
    import os, signal, sys, time
    from pathlib import Path
    from postroom.net.supervisor import Child, Supervisor

    log = Path(sys.argv[1])

    def note(line):
        with log.open("a") as out:
            out.write(line + "\\n")

    def steady(ready):
        signal.signal(signal.SIGTERM, lambda *_: (note("steady stops"), os._exit(0)))
        note(f"steady {os.getpid()}")
        ready()
        while True:
            time.sleep(1)

    def stubborn(ready):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ready()
        note(f"stubborn {os.getpid()}")
        while True:
            time.sleep(1)

    children = [Child("steady", steady)]
    if "stubborn" in sys.argv:
        children.append(Child("stubborn", stubborn))
    sys.exit(Supervisor(children, on_ready=lambda: note("ready"), grace=1.0).run())
"""


def _start(log: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(log), *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for(log: Path, *needed: str) -> list[str]:
    lines: list[str] = []
    for _ in range(2000):
        lines = log.read_text().splitlines() if log.exists() else []
        if all(sum(line.startswith(one) for line in lines) >= needed.count(one) for one in needed):
            return lines
        time.sleep(0.01)
    raise AssertionError(f"{needed} not in {lines}")


def test_starts_restarts_and_stops(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = _start(log)
    try:
        lines = _wait_for(log, "steady", "ready")
        first = int(next(line for line in lines if line.startswith("steady")).split()[1])
        os.kill(first, signal.SIGKILL)
        lines = _wait_for(log, "steady", "steady")
        pids = [int(line.split()[1]) for line in lines if line.startswith("steady")]
        assert pids[0] != pids[1]
        assert lines.count("ready") == 1
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(20) == 0
        assert "steady stops" in log.read_text()
    finally:
        parent.kill()
        parent.wait()


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = _start(log, "stubborn")
    try:
        lines = _wait_for(log, "stubborn", "ready")
        pid = int(next(line for line in lines if line.startswith("stubborn")).split()[1])
        parent.send_signal(signal.SIGINT)
        assert parent.wait(20) == 1
        assert not Path(f"/proc/{pid}").exists()
    finally:
        parent.kill()
        parent.wait()


def test_children_stop_when_the_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = _start(log)
    lines = _wait_for(log, "steady", "ready")
    parent.kill()
    parent.wait()
    assert lines
    _wait_for(log, "steady stops")


def test_the_descriptor_limit_is_raised_and_never_lowered() -> None:
    program = """
        import resource, sys
        from postroom.net.supervisor import raise_descriptor_limit

        resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
        print(raise_descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
    """

    def run(soft: int, hard: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), str(soft), str(hard)],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    assert run(256, 1000) == "1000 1000 1000"
    assert run(1000, 1000) == "1000 1000 1000"
