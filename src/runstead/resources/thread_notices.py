"""Who wants to know that something has begun on a thread: readers that follow a thread from run to run.

A notice says "look again", never what is true; the rows do. Readers look by themselves now and then, should one be
lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.types import RunId, ThreadId

_TOLD: Final = frozenset(
    (
        RunLifecycleEventType.RUN_STARTED,
        RunLifecycleEventType.RUN_COMPLETED,
        RunLifecycleEventType.RUN_FAILED,
        RunLifecycleEventType.RUN_CANCELLED,
    )
)


NO_RUN: Final = ""
"""Told instead of a run's id when it is the thread itself that has changed."""


def is_told(event: RunLifecycleEvent) -> bool:
    """Whether readers of the thread have something to look at."""
    return event.event_type in _TOLD


class ThreadListener:
    """What one reader has been told and has not looked at yet. ``heard`` is set while there is something."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.closed = False
        self.in_doubt = False
        """Notices may have been lost: all of the thread's runs are to be looked at."""
        self._run_ids: deque[RunId] = deque()

    def tell(self, run_id: RunId) -> None:
        if run_id not in self._run_ids:
            self._run_ids.append(run_id)
        self.heard.set()

    def doubt(self) -> None:
        self.in_doubt = True
        self.heard.set()

    def close(self) -> None:
        self.closed = True
        self.heard.set()

    def take(self) -> list[RunId]:
        """The runs that were told of, in order; from then on nothing is heard until the next notice."""
        run_ids = list(self._run_ids)
        self._run_ids.clear()
        self.in_doubt = False
        if not self.closed:
            self.heard.clear()
        return run_ids


class ThreadNotices(Protocol):
    """Tells readers of a thread which runs have begun or ended there, and that its state was changed."""

    def listener(self, thread_id: ThreadId) -> ThreadListener:
        """From now on; hand it back with `leave`. Closed at once when the server is going down."""
        ...

    def leave(self, thread_id: ThreadId, listener: ThreadListener) -> None: ...

    async def state_changed(self, thread_id: ThreadId) -> None:
        """Somebody has written to the thread's state, outside of runs: listeners hear `NO_RUN`."""
        ...


class LocalThreadNotices:
    """Notices inside one process, from what its runs tell their observers. Lives on one event loop."""

    def __init__(self) -> None:
        self._listeners: dict[ThreadId, set[ThreadListener]] = {}
        self._closed = False

    async def on_event(self, event: RunLifecycleEvent) -> None:
        """A RunObserver."""
        if is_told(event):
            self.tell(event.thread_id, event.run_id)

    def tell(self, thread_id: ThreadId, run_id: RunId) -> None:
        """Something has begun or ended there."""
        for listener in self._listeners.get(thread_id, ()):
            listener.tell(run_id)

    def doubt(self) -> None:
        """Notices may have been lost: every reader is to look at all runs of its thread."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.doubt()

    async def state_changed(self, thread_id: ThreadId) -> None:
        self.tell(thread_id, NO_RUN)

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
        """The server goes down: nobody is to wait any longer."""
        self._closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()
