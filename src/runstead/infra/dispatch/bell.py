"""A bell that says "look at the waiting runs again": rung by whoever has committed something, from any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Bell:
    """Rings for everyone who listens. Ringing often before anybody has looked is ringing once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def ring(self) -> None:
        """Tell every listener. Quick, never blocks, never fails; safe in any thread and in a commit's callback."""
        with self._lock:
            listeners = list(self._listeners.items())
        for heard, loop in listeners:
            # Reading the flag from another thread is safe: at worst the loop is told twice. A listener clears
            # it before it looks, so that what was committed before a ring that found it set is still seen.
            if not heard.is_set():
                _set(heard, loop)

    @contextmanager
    def listener(self) -> Iterator[asyncio.Event]:
        """An event that is set at each ring, for the running loop. Clear it first, look second."""
        heard = asyncio.Event()
        with self._lock:
            self._listeners[heard] = asyncio.get_running_loop()
        try:
            yield heard
        finally:
            with self._lock:
                del self._listeners[heard]


def _set(heard: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is loop:
        heard.set()
        return
    try:
        loop.call_soon_threadsafe(heard.set)
    except RuntimeError:
        # The listener's loop is closed: nobody is left to be told.
        return
