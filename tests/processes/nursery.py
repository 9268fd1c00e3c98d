"""Server processes that have imported everything before they are born: forks of one that has done nothing else.

From the first line of ``python -m runstead.cli`` on they do what any process does; what they spare is the two seconds
of importing, each time. With ``RUNSTEAD_LONG=1``, and where forking is no good, each process starts from nothing. The
command line's own tests always start it from nothing.
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
    """What is wanted of a process that was started."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


def started(
    arguments: Sequence[str], *, parent_fd: int, log: IO[bytes], env: Mapping[str, str], program: str | None = None
) -> Process:
    """``python -m runstead.cli`` with ``arguments``, which ends when ``parent_fd`` does and says everything to ``log``.
    A ``program`` of the caller's stands for it.
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
    """The process that has imported, seen from here. It ends with this process."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes.nursery", str(theirs.fileno())],
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
    """A process whose end somebody else tells of: it is no child of ours."""

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
    """One for all tests of this process, made when it is wanted."""
    with _lock:
        if not _made:
            _made.append(Nursery())
        return _made[0]


def _serve(orders: socket.socket) -> None:
    """Import, then give birth until whoever asks is gone."""
    # As the server does it.
    gc.disable()
    for name in _IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "what has threads is not to be forked"
    keepers: set[int] = set()
    while True:
        text, fds, _, _ = socket.recv_fds(orders, 1 << 18, 3)
        # Waited for, not ignored: so what they took of the processors is told to whoever measures the tests.
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
    """Give birth to one, say its pid, and at its end its exit code."""
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
    """Be what ``python -m`` would have made."""
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
