"""Port: what the kernel asks of checkpoints beyond what a graph does with its saver.

A rollback has to restore a thread exactly: the checkpoints that a run wrote go, and the pending
writes it put onto older checkpoints (a resume does that) are as they were.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..types import RunId, ThreadId


class RunCheckpointStore(Protocol):
    """Checkpoints of threads, by the run that wrote them (``run_id`` in the checkpoint's metadata)."""

    @property
    def saver(self) -> Any:
        """langgraph's BaseCheckpointSaver. Usable from the event loop it was opened on; graphs get it behind a
        fence.
        """
        ...

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        """Remember, durably, what `undo` will need, and return the id of the thread's latest root checkpoint, if any.

        Called before the run's first write; marking twice keeps the first mark.
        """
        ...

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        """Make the thread's checkpoints and pending writes those from before the run. Twice is once."""
        ...

    async def forget_mark(self, thread_id: ThreadId, run_id: RunId) -> None:
        """The run has settled: what `mark` kept is no longer needed."""
        ...

    async def delete_thread(self, thread_id: ThreadId) -> None:
        """Delete all checkpoints and writes of a thread."""
        ...
