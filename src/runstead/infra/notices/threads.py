"""Notices to the thread readers of all processes about runs that begin and end on a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runstead.resources.thread_notices import NO_RUN, LocalThreadNotices, ThreadListener, concerns_thread_readers
from runstead.runtime.runs.observer import RunLifecycleEvent
from runstead.runtime.runs.types import RunId, ThreadId

from .redis import RedisNotices


class RedisThreadNotices:
    """A ThreadNotices, and the RunObserver that feeds it; see `heard_in`."""

    def __init__(self, notices: RedisNotices) -> None:
        self._notices = notices
        self._local = LocalThreadNotices()

    @classmethod
    @contextmanager
    def heard_in(cls, notices: RedisNotices) -> Iterator[RedisThreadNotices]:
        """Deliver notices of all processes to the readers in this one, until the end of the block."""
        threads = cls(notices)
        with notices.listener("thread", threads._heard, threads._local.invalidate):
            try:
                yield threads
            finally:
                threads.close()

    async def on_event(self, event: RunLifecycleEvent) -> None:
        """Send a notice for an event of the run's lifecycle; implements RunObserver."""
        if concerns_thread_readers(event):
            self._notices.publish("thread", f"{event.thread_id} {event.run_id}")

    async def notify_state_change(self, thread_id: ThreadId) -> None:
        self._notices.publish("thread", f"{thread_id} {NO_RUN}")

    def listener(self, thread_id: ThreadId) -> ThreadListener:
        return self._local.listener(thread_id)

    def leave(self, thread_id: ThreadId, listener: ThreadListener) -> None:
        self._local.leave(thread_id, listener)

    def close(self) -> None:
        """Release all waiting readers, since the server shuts down."""
        self._local.close()

    def _heard(self, said: str) -> None:
        thread_id, _, run_id = said.partition(" ")
        self._local.notify(ThreadId(thread_id), RunId(run_id))
