"""Notifications about the runs of a thread, for readers that follow it from run to run.

A notification only asks a reader to check the rows, which are authoritative. Readers also check at intervals, in case a
notification is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.types import RunId, ThreadId

_EVENTS_FOR_READERS: Final = frozenset(
    (
        RunLifecycleEventType.RUN_STARTED,
        RunLifecycleEventType.RUN_COMPLETED,
        RunLifecycleEventType.RUN_FAILED,
        RunLifecycleEventType.RUN_CANCELLED,
    )
)


NO_RUN: Final = RunId("")
"""Sent instead of a run's id if the thread itself has changed."""


def concerns_thread_readers(event: RunLifecycleEvent) -> bool:
    """Return whether the event concerns readers of the thread."""
    return event.event_type in _EVENTS_FOR_READERS


class ThreadListener:
    """Notifications for one reader that it has not handled yet. ``heard`` is set while there are any."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.closed = False
        self.in_doubt = False
        """True if notifications may have been lost: the reader must check all runs of the thread."""
        self._run_ids: deque[RunId] = deque()

    def notify(self, run_id: RunId) -> None:
        if run_id not in self._run_ids:
            self._run_ids.append(run_id)
        self.heard.set()

    def invalidate(self) -> None:
        self.in_doubt = True
        self.heard.set()

    def close(self) -> None:
        self.closed = True
        self.heard.set()

    def take(self) -> list[RunId]:
        """Return the notified runs, in order, and reset until the next notification."""
        run_ids = list(self._run_ids)
        self._run_ids.clear()
        self.in_doubt = False
        if not self.closed:
            self.heard.clear()
        return run_ids


class ThreadNotices(Protocol):
    """Notifier of a thread's readers about runs that began or ended, and about state updates."""

    def listener(self, thread_id: ThreadId) -> ThreadListener:
        """Register a listener; return it with `leave`. It is closed from the start if the server is shutting down."""
        ...

    def leave(self, thread_id: ThreadId, listener: ThreadListener) -> None: ...

    async def notify_state_change(self, thread_id: ThreadId) -> None:
        """Notify listeners with `NO_RUN` of a state update outside runs."""
        ...


class LocalThreadNotices:
    """Notifications inside one process, derived from lifecycle events. Belongs to one event loop."""

    def __init__(self) -> None:
        self._listeners: dict[ThreadId, set[ThreadListener]] = {}
        self._closed = False

    async def on_event(self, event: RunLifecycleEvent) -> None:
        """Handle a lifecycle event, as a RunObserver."""
        if concerns_thread_readers(event):
            self.notify(event.thread_id, event.run_id)

    def notify(self, thread_id: ThreadId, run_id: RunId) -> None:
        """Notify the thread's listeners of a run that began or ended."""
        for listener in self._listeners.get(thread_id, ()):
            listener.notify(run_id)

    def invalidate(self) -> None:
        """Make every reader check all runs of its thread, since notifications may have been lost."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.invalidate()

    async def notify_state_change(self, thread_id: ThreadId) -> None:
        self.notify(thread_id, NO_RUN)

    def listener(self, thread_id: ThreadId) -> ThreadListener:
        listener = ThreadListener()
        if self._closed:
            listener.close()
        self._listeners.setdefault(thread_id, set()).add(listener)
        return listener

    def leave(self, thread_id: ThreadId, listener: ThreadListener) -> None:
        listeners = self._listeners.get(thread_id, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(thread_id, None)

    def close(self) -> None:
        """Close all listeners at server shutdown, so that no reader waits any longer."""
        self._closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()
