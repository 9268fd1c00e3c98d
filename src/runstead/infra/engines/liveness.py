"""Detect a database server that has stopped answering, for work that must not wait for a frozen server.

A connection to a frozen server stays open, and nothing on it fails. A statement may also just be slow: so the server
is probed over a separate connection before it counts as silent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

CHECKS: Final = 4
"""Number of checks of waiting work within the patience."""
_TIME_TO_ANSWER: Final = 1.0
"""Minimum number of seconds that a server has for an answer, however short the patience is."""


class LivenessCheck:
    """Records the time of the latest answer. Thread-safe.

    ``probe`` contacts the server, blocks, and returns whether it answered. ``patience``: seconds of silence after
    which the server counts as silent.
    """

    def __init__(self, patience: float, probe: Callable[[], bool]) -> None:
        self._patience, self._probe = patience, probe
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None

    @property
    def silence(self) -> float:
        """Return the seconds since the latest answer."""
        return time.monotonic() - self._heard_at

    def heard(self) -> None:
        """Record an answer of the server."""
        self._heard_at = time.monotonic()
        self._asked_at = None

    def check(self) -> bool:
        """Return whether the server is silent. After some silence this starts a probe, and gives it time to answer."""
        silence = self.silence
        if silence < self._patience / CHECKS:
            return False
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            # A daemon thread: it may hang as long as the server does, and must not keep the process alive.
            threading.Thread(target=self._ask, name="postgres-probe", daemon=True).start()
        had_time = now - self._asked_at >= max(self._patience / CHECKS, _TIME_TO_ANSWER) * 0.99
        return had_time and silence >= self._patience / 2

    def _ask(self) -> None:
        while self._asked_at is not None:
            if self._probe():
                self.heard()
            else:
                time.sleep(self._patience / CHECKS)
