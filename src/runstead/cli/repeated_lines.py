"""Hold back log lines that repeat, and say how many there were."""

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
    """Lets ``burst`` lines of one kind pass in ``every`` seconds, and the first one after that with a count.

    Lines are of one kind that come from the same place in the code, whatever they say of which run, and carry the same
    class of exception. What is below a warning always passes.
    """

    def __init__(
        self, *, burst: int = BURST, every: float = EVERY, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst, self._every, self._monotonic = burst, every, monotonic
        self._windows: dict[tuple[object, ...], _Window] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line passes; one that stands for others says so in its text."""
        if record.levelno < logging.WARNING:
            return True
        kind = record.exc_info[0] if record.exc_info else None
        key = (record.name, record.pathname, record.lineno, kind)
        with self._lock:
            held_back = self._held_back(key)
        if held_back is None:
            return False
        if held_back:
            record.msg = f"{record.getMessage()} ({held_back} lines like this one were held back)"
            record.args = None
        return True

    def _held_back(self, key: tuple[object, ...]) -> int | None:
        """How many lines were held back before this one, which passes; None when it is held back too."""
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
