"""``runstead dev``: a server in a process of its own, made anew when code changes.

The listening socket belongs to this process and is handed to each server in turn, so that clients who come during a
reload wait a moment instead of being refused. Runs in flight are handed back and resumed by the next server.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from watchfiles import DefaultFilter, watch

from .output import Output
from .serving import ServeRequest, listen_on, refuse_strangers, refuse_unprotected

if TYPE_CHECKING:
    from watchfiles import Change

    from runstead.graphs.configuration import GraphConfiguration

_SUFFIXES = (".py", ".json", ".toml", ".env")
_PATIENCE_SECONDS = 15.0


class _CodeFilter(DefaultFilter):
    """Python and configuration files of the project, not what runs write."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(ignore_paths=[data_dir])

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(_SUFFIXES) and super().__call__(change, path)


class _Server:
    """The child that serves at the moment."""

    def __init__(self, arguments: Sequence[str], listening: socket.socket) -> None:
        self._arguments, self._listening = arguments, listening
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        descriptor = self._listening.fileno()
        # The child reads the other end of a pipe: it notices our end, even by SIGKILL.
        reading, self._lifeline = os.pipe()
        command = [sys.executable, "-m", "runstead.cli", "serve", *self._arguments]
        command += ["--socket-fd", str(descriptor), "--parent-fd", str(reading)]
        self._process = subprocess.Popen(command, pass_fds=(descriptor, reading))
        os.close(reading)

    def stop(self) -> None:
        """SIGTERM, patience, SIGKILL."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """For the end of a child that was told to end."""
        if self._process is None:
            return
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lifeline)
        self._process = None

    def has_died(self) -> int | None:
        """Its exit code, once, when it ended by itself."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self.wait()
        return code


def reload_forever(request: ServeRequest, output: Output) -> None:
    """Serve, watch, serve again, until a signal."""
    settings = request.settings()
    refuse_strangers(settings)
    configuration = request.configuration(settings)
    refuse_unprotected(configuration, settings)
    listening = listen_on(settings)
    server = _Server(_for_child(request), listening)
    stopping = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.start()
    try:
        changes = watch(
            *_watched(configuration),
            watch_filter=_CodeFilter(settings.data_dir),
            stop_event=stopping,
            rust_timeout=300,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for changed in changes:
            if (code := server.has_died()) is not None and not stopping.is_set():
                output.line("died", exit_code=code)
                output.say(f"The server ended with {code}; it starts again when a file changes.", style="red")
            if changed:
                paths = sorted({Path(path).name for _, path in changed})
                output.line("reloading", changed=paths)
                output.say(f"{', '.join(paths)} changed: serving anew", style="yellow")
                server.stop()
                server.start()
    finally:
        # After Ctrl-C the terminal has told the child too; a second signal would make it leave without draining.
        server.stop() if _told_by_us(stopping) else server.wait()
        listening.close()
