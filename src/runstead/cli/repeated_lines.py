"""Suppression of repeated log lines, with a count of the suppressed ones."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BURST: Final = 10
EVERY: Final = 60.0
_KEYS: Final = 1_000


@dataclass(slots=True)
class _Window:
    began: float
    passed: int = 0
    held_back: int = 0


class RepeatedLines(logging.Filter):
    """Filter that passes ``burst`` lines of one kind per ``every`` seconds, and the first one after that with a count.

    Lines are of one kind if they come from the same place in the code, with the same class of exception, whatever run
    they are about. Lines below warning always pass.
    """

    def __init__(
        self, *, burst: int = BURST, every: float = EVERY, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst, self._every, self._monotonic = burst, every, monotonic
        self._windows: dict[tuple[object, ...], _Window] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line passes. A line that stands for suppressed ones gets their count in its text."""
        if record.levelno < logging.WARNING:
            return True
        kind = record.exc_info[0] if record.exc_info else None
        key = (record.name, record.pathname, record.lineno, kind)
        with self._lock:
            held_back = self._held_back(key)
        if held_back is None:
            return False
        if held_back:
            record.msg = f"{record.getMessage()} ({held_back} lines like this one were suppressed)"
            record.args = None
        return True

    def _held_back(self, key: tuple[object, ...]) -> int | None:
        """Return the number of lines that were suppressed before this one; None if this one is suppressed too."""
        now = self._monotonic()
        window = self._windows.get(key)
        if window is None or now - window.began >= self._every:
            if len(self._windows) >= _KEYS:
                self._windows.clear()
            held_back = window.held_back if window else 0
            self._windows[key] = _Window(now, passed=1)
            return held_back
        if window.passed < self._burst:
            window.passed += 1
            return 0
        window.held_back += 1
        return None
