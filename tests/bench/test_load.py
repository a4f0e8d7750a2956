"""The load generator, against a server of a few lines."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.load import Load, LoadFailed
from bench.server import Server

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


class Echo(Server):
    """Greets, then answers each line with ``ok`` and the line; LITERAL lines announce octets that it counts."""

    name = "echo"
    services = frozenset({"echo"})

    def start(self) -> None:
        self.lines: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.ports = {"echo": self._listener.getsockname()[1]}
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(line,))
            thread.start()
            self._threads.append(thread)

    def _talk(self, line: socket.socket) -> None:
        with line, line.makefile("rwb") as file:
            file.write(b"hello\r\n")
            file.flush()
            try:
                for text in file:
                    self.lines.append(text)
                    file.write(b"* more\r\nok " + text)
                    file.flush()
            except OSError:
                return

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join()

    def cpu_seconds(self) -> float:
        return 0.0


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    server = Echo(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return Load(tmp_path_factory.mktemp("load"))


def test_loops_are_shared_by_the_connections(echo: Echo, load: Load) -> None:
    script = "expect hello\nloop\nsend run ${n} of ${c} and ${c+16}\\r\\n\nexpect ok run\nend\nsend bye\\r\\n\nexpect ok bye\n"
    found = load.run(echo, "echo", 4, 40, script)
    assert found.loops == 40
    assert found.rate > 0
    runs = [line.split() for line in echo.lines if line.startswith(b"run")]
    assert sorted(int(words[1]) for words in runs) == list(range(40))
    assert all(int(words[5]) == int(words[3]) + 16 for words in runs)
    assert echo.lines.count(b"bye\r\n") == 4


def test_a_reply_that_means_failure_is_told(echo: Echo, load: Load) -> None:
    with pytest.raises(LoadFailed, match="ok NO thanks"):
        load.run(
            echo, "echo", 1, 1, "fail ok NO\nexpect hello\nloop\nsend NO thanks\\r\\n\nexpect done\nend\n"
        )


def test_no_loop_begins_when_there_is_enough(echo: Echo, load: Load) -> None:
    script = "expect hello\nloop\nsend run\\r\\n\nexpect ok\nend\n"
    found = load.run(echo, "echo", 2, 50_000_000, script, enough=0.2)
    assert 0 < found.loops < 50_000_000
    assert found.loops == len(echo.lines)


def test_sessions_may_connect_anew(echo: Echo, load: Load) -> None:
    found = load.run(
        echo, "echo", 2, 10, "loop\nexpect hello\nsend run\\r\\n\nexpect ok run\nreconnect\nend\n"
    )
    assert found.loops == 10


def test_files_are_sent_as_they_are(echo: Echo, load: Load, tmp_path: Path) -> None:
    path = tmp_path / "octets"
    path.write_bytes(b"one\r\ntwo \\r \x80\r\n")
    load.run(echo, "echo", 1, 1, f"expect hello\nloop\nfile {path}\nexpect ok two\nend\n")
    assert echo.lines == [b"one\r\n", b"two \\r \x80\r\n"]
