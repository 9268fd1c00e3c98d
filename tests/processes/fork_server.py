"""Server processes that are forks of a process with all imports done.

From the first line of ``python -m runstead.cli`` on they behave like any process; they only save the two seconds of
importing. With ``RUNSTEAD_LONG=1``, and on platforms where forking is unsafe, each process is started normally. The
command line's own tests always start processes normally.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn, Protocol

_ROOT: Final = Path(__file__).parent.parent.parent
_MODULE: Final = "runstead.cli"
_IMPORTED: Final = (
    "langchain.agents",
    "langgraph.graph",
    "runstead.bootstrap.application",
    "runstead.bootstrap.server",
    "runstead.bootstrap.worker",
    "runstead.cli.main",
    "runstead.cli.serving",
    "runstead.infra.engines.postgres",
    "runstead.infra.engines.redis",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn",
)


class Process(Protocol):
    """The part of a started process's interface that tests use."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


def started(
    arguments: Sequence[str], *, parent_fd: int, log: IO[bytes], env: Mapping[str, str], program: str | None = None
) -> Process:
    """Run ``python -m runstead.cli`` with ``arguments``; it ends when ``parent_fd`` closes, and writes all output
    to ``log``. A ``program`` of the caller replaces it.
    """
    if program is not None or sys.platform != "linux" or os.environ.get("RUNSTEAD_LONG") == "1":
        python = [sys.executable, *(["-m", _MODULE] if program is None else ["-c", program])]
        return subprocess.Popen(
            [*python, *arguments, "--parent-fd", str(parent_fd)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(parent_fd,),
            env=dict(env),
        )
    return _nursery().born(arguments, parent_fd, log.fileno(), env)


class Nursery:
    """Handle of the process that has done the imports. It ends with this process."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes.fork_server", str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        atexit.register(self.close)

    def born(self, arguments: Sequence[str], parent_fd: int, log_fd: int, env: Mapping[str, str]) -> Fork:
        reports, theirs = os.pipe()
        order = {"arguments": list(arguments), "env": dict(env), "cwd": os.getcwd()}
        try:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [theirs, log_fd, parent_fd])
        finally:
            os.close(theirs)
        return Fork(reports)

    def close(self) -> None:
        self._orders.close()
        self._process.wait(10)


class Fork:
    """A process whose exit is reported by another one: it is no child of this process."""

    def __init__(self, reports: int) -> None:
        self._reports = os.fdopen(reports, "rb", buffering=0)
        said = self._reports.readline()
        assert said, "the process that imports has ended: see what it has said"
        self.pid = int(said)
        self._code: int | None = None

    def poll(self) -> int | None:
        return self._code if self._code is not None else self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._code if self._code is not None else self._look(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _look(self, seconds: float | None) -> int | None:
        waiting = select.poll()
        waiting.register(self._reports, select.POLLIN)
        if waiting.poll(None if seconds is None else seconds * 1000):
            self._code = int(self._reports.readline())
            self._reports.close()
        return self._code


_lock = threading.Lock()
_made: list[Nursery] = []


def _nursery() -> Nursery:
    """One for all tests of this process, created on first use."""
    with _lock:
        if not _made:
            _made.append(Nursery())
        return _made[0]


def _serve(orders: socket.socket) -> None:
    """Import, then fork on request until the requesting process is gone."""
    # Like the server does.
    gc.disable()
    for name in _IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "what has threads is not to be forked"
    keepers: set[int] = set()
    while True:
        text, fds, _, _ = socket.recv_fds(orders, 1 << 18, 3)
        # Awaited, not ignored: so their CPU time is included in measurements of the tests.
        keepers -= {pid for pid in keepers if os.waitpid(pid, os.WNOHANG)[0]}
        if not text:
            return
        if (keeper := os.fork()) == 0:
            orders.close()
            _keep(json.loads(text), *fds)
        keepers.add(keeper)
        for fd in fds:
            os.close(fd)


def _keep(order: Any, reports: int, log: int, parent: int) -> NoReturn:
    """Fork once; report its pid, and its exit code at its end."""
    if (pid := os.fork()) == 0:
        os.close(reports)
        _live(order, log, parent)
    os.close(log)
    os.close(parent)
    os.write(reports, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(reports, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _live(order: Any, log: int, parent: int) -> NoReturn:
    """Set up the process like ``python -m``."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.path[0] = order["cwd"]
    sys.argv = [_MODULE, *order["arguments"], "--parent-fd", str(parent)]
    runpy.run_module(_MODULE, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
