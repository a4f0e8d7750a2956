"""The parent process: starts the workers, restarts what dies, stops them together. It holds no state.

Invariants:
- The parent runs no event loop and no thread, opens no database: a fork of it is a clean start for a child.
- Listening sockets are bound once, here, and outlive a worker: while one is restarted its connections wait in the
  backlog. The parent drops root privileges before the first child starts.
- A child that dies is restarted after a delay that grows to ``_MOST_DELAY`` seconds while deaths follow each other.
- When the parent dies, its children are told by the kernel and stop.

It must not know: protocols, the store.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

_log = structlog.get_logger("postroom.supervisor")

_MOST_DELAY: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_DUMPABLE: Final = 4
_DESCRIPTORS: Final = 1 << 16
"""What a worker gets where the system lets it; beyond that its memory is the limit."""
_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Main = Callable[[Callable[[], None]], int]
"""A child's main: is given a function to call once when it is ready, returns the exit status."""


@dataclass(slots=True)
class Child:
    """One child process and how it has fared."""

    name: str
    main: Main
    pid: int = 0
    ready_fd: int = -1
    ready: bool = False
    started: float = 0.0
    restart_at: float | None = 0.0
    delay: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Runs children until SIGTERM or SIGINT. ``grace`` is how long they may take to stop, in seconds."""

    children: list[Child]
    on_ready: Callable[[], None] = lambda: None
    grace: float = 15.0
    _announced: bool = False
    _stopping: bool = False
    _wakeup: tuple[int, int] = field(default=(-1, -1))

    def run(self) -> int:
        """Supervise; returns the exit status of the whole: 0 after an orderly stop."""
        read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = (read_fd, write_fd)
        previous = {number: signal.signal(number, _noted) for number in _HANDLED}
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        try:
            while not self._stopping:
                self._start_due()
                self._wait(self._next_start())
                self._reap()
            return self._stop()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in previous.items():
                signal.signal(number, handler)
            os.close(read_fd)
            os.close(write_fd)

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.restart_at is not None and child.restart_at <= now:
                self._start(child)

    def _next_start(self) -> float | None:
        times = [child.restart_at for child in self.children if child.restart_at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start(self, child: Child) -> None:
        ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(ready_read)
            status = 70
            try:
                self._become_child(parent)
                status = child.main(lambda: _tell_ready(ready_write))
            except BaseException as error:  # noqa: BLE001 - a child must never return into the parent's code
                _log.error("child failed", child=child.name, exc_info=error)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        os.close(ready_write)
        os.set_blocking(ready_read, False)
        child.pid, child.ready_fd, child.ready = pid, ready_read, False
        child.started, child.restart_at = time.monotonic(), None

    def _become_child(self, parent: int) -> None:
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        # A terminal's Ctrl-C reaches the whole group; the parent decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for descriptor in self._wakeup:
            os.close(descriptor)
        for other in self.children:
            if other.ready_fd >= 0:
                os.close(other.ready_fd)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)

    def _wait(self, timeout: float | None) -> None:
        watched = [self._wakeup[0], *(child.ready_fd for child in self.children if child.ready_fd >= 0)]
        readable, _, _ = select.select(watched, [], [], timeout)
        for child in self.children:
            if child.ready_fd in readable:
                self._hear(child)
        if self._wakeup[0] in readable:
            received = os.read(self._wakeup[0], 4096)
            if signal.SIGTERM in received or signal.SIGINT in received:
                self._stopping = True
            if signal.SIGHUP in received:
                self._signal_all(signal.SIGHUP)

    def _hear(self, child: Child) -> None:
        octets = os.read(child.ready_fd, 16)
        if octets:
            child.ready = True
        os.close(child.ready_fd)
        child.ready_fd = -1
        if not self._announced and all(one.ready for one in self.children):
            self._announced = True
            self.on_ready()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children:
                if child.pid == pid:
                    self._died(child, status)

    def _died(self, child: Child, status: int) -> None:
        child.pid = 0
        if self._stopping:
            return
        lived = time.monotonic() - child.started
        child.delay = 0.05 if lived > _MOST_DELAY else min(_MOST_DELAY, max(0.05, child.delay * 2))
        child.restart_at = time.monotonic() + child.delay
        code = os.waitstatus_to_exitcode(status)
        _log.error(
            "child died, will be restarted", child=child.name, status=code, after=round(child.delay, 2)
        )

    def _stop(self) -> int:
        self._signal_all(signal.SIGTERM)
        end = time.monotonic() + self.grace
        while any(child.pid for child in self.children) and time.monotonic() < end:
            self._wait(min(0.5, max(0.0, end - time.monotonic())))
            self._reap()
        late = [child for child in self.children if child.pid]
        for child in late:
            _log.error("child did not stop in time, killed", child=child.name)
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            child.pid = 0
        return 1 if late else 0

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self.children:
            if child.pid:
                os.kill(child.pid, number)


def drop_privileges(user: str) -> None:
    """Become ``user`` for good and keep no way back. Raises KeyError for an unknown user, OSError when not allowed."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def harden() -> None:
    """No new privileges and no core dumps or ptrace by others, where the kernel offers it."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)


def raise_descriptor_limit() -> int:
    """Take as many descriptors as the hard limit allows, ``_DESCRIPTORS`` at most, for this process and its children.

    A connection is a descriptor, and the usual soft limit of 1,024 is for programs that call select(2). Never lowers the
    limit; returns the one that holds from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return soft
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:  # a sandbox, or a system with a lower limit of its own
            _log.warning("descriptor limit not raised", limit=soft, reason=str(error))
            return soft
        return wanted
    return soft


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _tell_ready(descriptor: int) -> None:
    os.write(descriptor, b"1")
    os.close(descriptor)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor carries the signal; the handler only has to exist."""
