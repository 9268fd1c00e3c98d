"""Server program as a child process, in a folder, on a free port of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from runstead.private_files import append_private

from .parent_watchdog import ParentWatchdog
from .ports import free_port


class Account(TypedDict, total=False):
    """Account of a child process: arguments of subprocess."""

    user: str
    group: None
    extra_groups: list[str]


class ChildServer:
    """Process of a server, which ends with this process. Its log is in ``folder``, its data in a folder of that."""

    def __init__(self, folder: Path, log_name: str, stop_within: float) -> None:
        self.folder, self.port = folder, free_port()
        self.data, self._log = folder / "data", folder / log_name
        self._stop_within = stop_within
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: ParentWatchdog | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    @property
    def log(self) -> str:
        """Log output so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _spawn(self, command: Sequence[str], polite: signal.Signals, account: Account | None = None) -> None:
        """Start the process. ``polite`` is the signal that asks it to end."""
        with os.fdopen(append_private(self._log), "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                process_group=0,
                **(account or {}),
            )
        self._lifeline = ParentWatchdog(self._process.pid, polite)

    def _end(self, how: signal.Signals) -> None:
        """Send a signal and wait for the end of the process, which is killed if it does not end."""
        if self._process is None:
            return
        if self._process.poll() is None:
            # A suspended process would not react.
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            try:
                self._process.wait(self._stop_within)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        if self._lifeline is not None:
            self._lifeline.release()
            self._lifeline = None
