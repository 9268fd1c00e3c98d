"""Commands as real processes: run to their end, in the background, and in a terminal with key input."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environment import child_environment


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    exit_code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


def environ_of(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a fresh machine, with a home directory of its own."""
    own = {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "TERM": "xterm"}
    return child_environment({**own, **(more or {})})


def command_of(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runstead.cli", *arguments]


class Background:
    """A running command, read line by line."""

    def __init__(self, *arguments: str, cwd: Path, home: Path, **environ: str) -> None:
        self.process = subprocess.Popen(
            command_of(*arguments),
            cwd=cwd,
            env=environ_of(home, environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the next line of this event."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line)
            if said["event"] == event:
                return said
        raise AssertionError(f"it ended with {self.process.wait()} before it said {event!r}")

    def end(self, with_signal: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()
        return code


class Terminal:
    """A command in its own terminal, with key input."""

    def __init__(self, command: list[str], *, cwd: Path, home: Path) -> None:
        self.shown = self.before = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.execve(sys.executable, command, environ_of(home))

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Wait until ``text`` is on the screen after the last match; ``before`` holds the output before it."""
        until = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < until, f"{text!r} was not shown, but: {self.shown}"
            self._read()
        self.before, _, self.shown = self.shown.partition(text)

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def end(self, seconds: float = 30) -> int:
        """Return its exit code, after reading the remaining output."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._read()
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it did not end, but said: {self.shown}")

    def close(self) -> None:
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        os.close(self._terminal)

    def _read(self) -> None:
        ready, _, _ = select.select([self._terminal], [], [], 0.1)
        if ready:
            # Linux reports a closed peer as an error.
            with suppress(OSError):
                said = os.read(self._terminal, 65536).decode(errors="replace")
                self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said)


CTRL_C = "\x03"
