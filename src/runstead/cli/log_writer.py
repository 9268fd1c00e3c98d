"""Log handler whose lines are written by a thread of their own: a standard error that nothing reads stops no server."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, TextIO

LINES: Final = 10_000
"""Lines that wait for a slow reader; more are dropped, and counted."""
_FLUSH_SECONDS: Final = 2.0


class LogWriter(logging.Handler):
    """Handler that formats in the caller's thread, where context variables are, and writes in another one."""

    def __init__(self, stream: TextIO, *, lines: int = LINES) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(lines)
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._idle = threading.Condition()
        self._pending = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record."""
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return
        # Called under the handler's lock.
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
            self._thread.start()
        self._count(1)
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._count(-1)
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all lines are written, for two seconds at most. Called at the end of the process too."""
        self.wait_until_written(_FLUSH_SECONDS)

    def wait_until_written(self, seconds: float) -> bool:
        """Return whether all lines were written within this time."""
        with self._idle:
            return self._idle.wait_for(lambda: self._pending == 0, seconds)

    def _count(self, change: int) -> None:
        with self._idle:
            self._pending += change
            if self._pending == 0:
                self._idle.notify_all()

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                line += f"{dropped} log lines were dropped: standard error was not read\n"
            self._put(lambda line=line: self._stream.write(line))  # type: ignore[misc]
            if self._lines.empty():
                self._put(self._stream.flush)
            self._count(-1)

    @staticmethod
    def _put(write: Callable[[], object]) -> None:
        # A terminal that is gone must not end the thread: the queue would fill up.
        try:
            write()
        except (OSError, ValueError):
            return
