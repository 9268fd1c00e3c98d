"""Server process that is a child of this one.

It serves on a socket of the parent, so that the next server can take over without refused connections. It ends when the
parent ends, even if the parent is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from runstead.private_files import append_private
from runstead.settings import ENV_PREFIX, Settings

from .start_failures import StartFailure, read_failure

_PATIENCE_SECONDS: Final = 15.0
_MARGIN_SECONDS: Final = 6.0
"""Seconds for connections to close and the process to end, after its runs were handed back."""


def startup_timeout_seconds(settings: Settings) -> float:
    """Return the seconds that a process with these settings may take to end after it was asked to."""
    return settings.shutdown_grace_seconds + settings.hand_back_grace_seconds + _MARGIN_SECONDS


class ServerProcess:
    """Current server process: at most one at a time, replaced by the next."""

    def __init__(
        self,
        arguments: Sequence[str],
        listening: socket.socket | None,
        *,
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        """Create a child that is not running yet.

        ``listening`` None: a worker, which serves no requests. ``environ``: these settings instead of the user's.
        ``log``: file for all its output. ``patience``: seconds to end before it is killed.
        """
        self._patience = patience
        self._arguments, self._listening, self._log = arguments, listening, log
        self._environ = None if environ is None else {**_without_settings(os.environ), **environ}
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = self._failures = -1
        self.failure: StartFailure | None = None
        """Reason why the last process could not start, if it reported one."""
        self.stop_requested = False
        """True if the current process was asked to stop."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, *more: str) -> None:
        """Start a process. ``more``: additional arguments for this one only."""
        # The child reads the other end of a pipe, and so notices the end of this process, even after SIGKILL.
        reading, self._lifeline = os.pipe()
        handed_on = [reading]
        failing = -1
        verb = "worker" if self._listening is None else "serve"
        command = [sys.executable, "-m", "runstead.cli", verb, *self._arguments, *more, "--parent-fd", str(reading)]
        if self._listening is not None:
            self._failures, failing = os.pipe()
            handed_on += [self._listening.fileno(), failing]
            command += ["--socket-fd", str(self._listening.fileno()), "--failure-fd", str(failing)]
        self.stop_requested = False
        with ExitStack() as stack:
            # In its own process group, so that Ctrl-C reaches it only through this process, once.
            self._process = subprocess.Popen(
                command,
                pass_fds=handed_on,
                process_group=0,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context(os.fdopen(append_private(self._log), "a")) if self._log else None,
                stderr=subprocess.STDOUT if self._log else None,
            )
        os.close(reading)
        if failing != -1:
            os.close(failing)

    def terminate(self) -> None:
        """Ask the process to stop. The first time, it lets runs finish and hands the rest back; the second time, it
        ends at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self.stop_requested = True

    def kill(self) -> None:
        """Kill the process with SIGKILL, without any cleanup. Returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def stop(self) -> int | None:
        """Stop the process, wait for its end, and return its exit code."""
        self.terminate()
        return self.wait()

    def wait(self) -> int | None:
        """Wait for the end of a child that was asked to stop, kill it after a time limit, and return its exit code."""
        if self._process is None:
            return None
        try:
            code = self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        os.close(self._lifeline)
        self.failure = None
        if self._failures != -1:
            self.failure = read_failure(self._failures)
            self._failures = -1
        self._process = None
        return code

    def has_died(self) -> int | None:
        """Return the exit code, once, if the process has ended by itself; otherwise None."""
        if self._process is None or self._process.poll() is None:
            return None
        return self.wait()


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.upper().startswith(ENV_PREFIX)}
