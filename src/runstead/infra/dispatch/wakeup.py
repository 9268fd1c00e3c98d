"""A wake-up signal that means "read the waiting runs again". Any thread rings it after a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class WakeupSignal:
    """Wakes all listeners. Several rings before a listener reads count as one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def notify(self) -> None:
        """Wake every listener. Quick, never blocks, never fails; safe in any thread and in a commit's callback."""
        with self._lock:
            listeners = list(self._listeners.items())
        for heard, loop in listeners:
            # Reading the flag from another thread is safe: at worst the event is set twice. A listener clears it
            # before it reads the rows, so that it still sees what was committed before a ring that found the flag set.
            if not heard.is_set():
                _set(heard, loop)

    @contextmanager
    def listener(self) -> Iterator[asyncio.Event]:
        """Yield an event for the running loop that each ring sets. Clear it first, then read the rows."""
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
        # The listener's loop is closed: no one is left to wake.
        return
