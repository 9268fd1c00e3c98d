"""Whether a database server answers at all, for work that must not wait for one that is frozen.

A connection to a stopped server stays open, and nothing on it fails. A statement may be slow, too: the server is asked
over a connection of its own before it is called silent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

CHECKS: Final = 4
"""Looks at waiting work within the patience."""
_TIME_TO_ANSWER: Final = 1.0
"""Seconds that a server has at least, however short the patience is."""


class AnswerWatch:
    """Remembers the latest answer. ``probe`` asks the server, blocks, and returns whether it answered.

    ``patience`` (seconds): of silence, after which the server is called silent. May be used from any thread.
    """

    def __init__(self, patience: float, probe: Callable[[], bool]) -> None:
        self._patience, self._probe = patience, probe
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None

    @property
    def silence(self) -> float:
        """Seconds since the latest answer."""
        return time.monotonic() - self._heard_at

    def heard(self) -> None:
        """It has answered."""
        self._heard_at = time.monotonic()
        self._asked_at = None

    def check(self) -> bool:
        """Return whether it is silent. After some silence this asks; it is called silent when it had time to answer."""
        silence = self.silence
        if silence < self._patience / CHECKS:
            return False
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            # A daemon: it may hang as long as the server does, and must not keep the process.
            threading.Thread(target=self._ask, name="postgres-probe", daemon=True).start()
        had_time = now - self._asked_at >= max(self._patience / CHECKS, _TIME_TO_ANSWER) * 0.99
        return had_time and silence >= self._patience / 2

    def _ask(self) -> None:
        while self._asked_at is not None:
            if self._probe():
                self.heard()
            else:
                time.sleep(self._patience / CHECKS)
