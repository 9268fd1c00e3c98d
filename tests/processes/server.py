"""A ``runstead serve`` for one test: a real process on a free loopback port, which can be killed and restarted.

It never outlives the test: it drains when this process ends, and `stop` reaps it.
"""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runstead.cli.servers.ports import free_port
from tests.environment import child_environment

from .fork_server import Process, started

GRAPHS: Final = Path(__file__).parent / "langgraph.json"
_START_WITHIN: Final = 150.0
_STOP_WITHIN: Final = 60.0
_AGAIN_AFTER: Final = 0.5


class ServerProcess:
    """One server over one data directory; at most one process of it lives at a time."""

    def __init__(
        self,
        data_dir: Path,
        *,
        config: Path = GRAPHS,
        settings: Mapping[str, object] | None = None,
        program: str | None = None,
        environ: Mapping[str, str] | None = None,
        insistent: bool = False,
    ) -> None:
        """``insistent``: restarted while it exits because one of its own servers is unavailable, like nodes of a
        cluster.
        """
        self.data_dir, self.log_file = data_dir, data_dir.with_suffix(".log")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments, self._program = [*self._what(), "--config", str(config)], program
        for name, value in (settings or {}).items():
            self._arguments += ["--set", f"{name}={value}"]
        self._environ, self._is_insistent = environ or {}, insistent
        self._process: Process | None = None
        self._lifeline: int | None = None

    def _what(self) -> list[str]:
        """Return the started process and its log."""
        return ["serve", "--port", str(self.port), "--data-dir", str(self.data_dir)]

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All output of its processes so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Start, and return when requests are answered."""
        patience, before = time.monotonic() + _START_WITHIN, len(self.log)
        while not self._starts(patience):
            said, before = self.log[before:], len(self.log)
            if not self._is_insistent or "cannot be reached" not in said or time.monotonic() > patience:
                raise RuntimeError(f"the server did not start:\n{said[-4_000:]}")
            time.sleep(_AGAIN_AFTER)

    def _starts(self, patience: float) -> bool:
        """True if requests are answered before it exits."""
        theirs, self._lifeline = os.pipe()
        with self.log_file.open("ab") as log:
            self._process = started(
                self._arguments, program=self._program, parent_fd=theirs, log=log, env=child_environment(self._environ)
            )
        os.close(theirs)
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > patience:
                self.kill()
                return False
            time.sleep(0.02)
        return True

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def running_as(self, program: str) -> Iterator[None]:
        """Start ``program`` in place of the server within the block."""
        before, self._program = self._program, program
        try:
            yield
        finally:
            self._program = before

    def kill(self) -> None:
        """Kill it like a crash: no warning, no cleanup."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Crash, and restart on the same data and port."""
        self.kill()
        self.start()

    def terminate(self) -> None:
        """Send SIGTERM, so that it drains and exits."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = _STOP_WITHIN) -> int:
        """Return its exit code, once it has exited by itself."""
        assert self._process is not None
        code = self._process.wait(seconds)
        self._forget()
        return code

    def stop(self) -> None:
        """End the process in any state."""
        self.kill()

    def resident_bytes(self) -> int:
        """Its resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def processor_seconds(self) -> float:
        """Its CPU time: independent of other load."""
        # The program's name, in parentheses, may contain spaces.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ok")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_STOP_WITHIN)
        self._forget()

    def _forget(self) -> None:
        self._process = None
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
