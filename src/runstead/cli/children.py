"""A server process of ours, from the side of the one who started it.

It serves on a socket that belongs to the parent, so that the next server can take over without anybody being
refused; and it ends with the parent, however that goes.
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

from runstead.infra.engines.private_files import append_private
from runstead.settings import ENV_PREFIX, Settings

from .start_failures import StartFailure, read_failure

_PATIENCE_SECONDS: Final = 15.0
_MARGIN_SECONDS: Final = 6.0
"""For connections to close and the process to end, after its runs are handed back."""


def patience_seconds(settings: Settings) -> float:
    """How long a process with these settings may take to end once it was told to."""
    return settings.shutdown_grace_seconds + settings.hand_back_grace_seconds + _MARGIN_SECONDS


class ServerChild:
    """The process that serves at the moment: at most one, and after it the next."""

    def __init__(
        self,
        arguments: Sequence[str],
        listening: socket.socket | None,
        *,
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        """``listening`` None: a worker, which answers nobody. ``environ``: these settings, and none of the user's.
        ``log``: where all that it says goes. ``patience``: seconds it may take to end before it is killed.
        """
        self._patience = patience
        self._arguments, self._listening, self._log = arguments, listening, log
        self._environ = None if environ is None else {**_without_settings(os.environ), **environ}
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = self._failures = -1
        self.failure: StartFailure | None = None
        """Why the process that ended last could not start, where it said so."""
        self.was_told = False
        """Whether the process that serves now has been told to stop."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, *more: str) -> None:
        """Start a process. ``more``: arguments for this one alone."""
        # The child reads the other end of a pipe, and so notices when we are gone, even by SIGKILL.
        reading, self._lifeline = os.pipe()
        handed_on = [reading]
        failing = -1
        verb = "worker" if self._listening is None else "serve"
        command = [sys.executable, "-m", "runstead.cli", verb, *self._arguments, *more, "--parent-fd", str(reading)]
        if self._listening is not None:
            self._failures, failing = os.pipe()
            handed_on += [self._listening.fileno(), failing]
            command += ["--socket-fd", str(self._listening.fileno()), "--failure-fd", str(failing)]
        self.was_told = False
        with ExitStack() as stack:
            # In a group of its own, Ctrl-C reaches it through us alone, once.
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

    def tell_to_stop(self) -> None:
        """Once: let runs finish and hand the rest back. Twice: leave at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self.was_told = True

    def kill(self) -> None:
        """SIGKILL: it can do nothing more, not even say so. Returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def stop(self) -> int | None:
        """Return when it is gone: its exit code."""
        self.tell_to_stop()
        return self.wait()

    def wait(self) -> int | None:
        """For the end of a child that was told to stop, with limited patience. Its exit code."""
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
        """Its exit code, once, when it ended by itself."""
        if self._process is None or self._process.poll() is None:
            return None
        return self.wait()


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.upper().startswith(ENV_PREFIX)}
