"""Port of checkpoints for the kernel, beyond the saver that graphs use.

A rollback restores a thread exactly: the checkpoints of the run are removed, and pending writes that the run added to
older checkpoints (as a resume does) are removed too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..types import Holder, RunId, ThreadId


class FenceableSaver(Protocol):
    """Saver that is usable from any event loop and checks by itself whether it may write.

    A graph on a separate loop then needs no other loop for its checkpoints: they are encoded where the graph runs, and
    the fence is checked in the transaction of the write, so that nothing can happen in between.
    """

    def fenced(self, check: Callable[[], object], holder: Holder | None = None) -> object:
        """Return the same saver for one holder. ``check`` is called from any thread, immediately before each write; its
        error is raised to the caller of the write, and nothing is written.

        A saver whose database is shared with other processes also checks there, in the transaction of the write, that
        ``holder`` still holds the run, and raises LeaseLost if it does not. With None, no run is checked.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChannelBytes:
    """Number of stored versions of a channel's value, and their total size in bytes."""

    versions: int
    size: int


@dataclass(frozen=True, slots=True)
class CheckpointBytes:
    """Stored size of a thread's states: ``stored`` bytes in ``count`` checkpoints, and its pending writes."""

    count: int
    stored: int
    channels: Mapping[str, ChannelBytes]
    writes: int
    written: int


class RunCheckpointStore(Protocol):
    """Checkpoints of threads, by the run that wrote them (``run_id`` in the checkpoint's metadata)."""

    @property
    def saver(self) -> Any:
        """LangGraph's BaseCheckpointSaver, usable from the event loop on which it was opened. Graphs use it behind a
        fence and by way of that loop, unless it is also a `FenceableSaver`."""
        ...

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        """Record durably what `undo` will need, and return the id of the thread's latest root checkpoint, if any.

        Called before the run's first write. A second call for the same run keeps the first mark.
        """
        ...

    async def sync(self) -> None:
        """Return once everything written before this call would survive a power failure.

        Called before a run is settled and before a state update is acknowledged. Single writes need not be durable
        themselves, but survive the end of the process.
        """
        ...

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        """Restore the thread's checkpoints and pending writes from before the run. Idempotent."""
        ...

    async def forget_mark(self, thread_id: ThreadId, run_id: RunId) -> None:
        """Delete the data that `mark` recorded: the run has settled, and it is no longer needed."""
        ...

    async def delete_thread(self, thread_id: ThreadId) -> None:
        """Delete all checkpoints and writes of a thread."""
        ...

    async def copy_thread(self, source: ThreadId, target: ThreadId) -> None:
        """Copy all checkpoints and pending writes of ``source``, as of one moment, to ``target``, which has none.

        The ids stay the same, so that each checkpoint keeps its ancestors. Afterwards the two threads are independent.
        The data of a `mark` stays with ``source``.
        """
        ...

    async def measure(self, thread_id: ThreadId) -> CheckpointBytes:
        """Return the stored size of a thread. Reads all of its checkpoints."""
        ...

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        """Delete the thread's checkpoints except for the latest of each namespace and the data needed to read it.

        Return False without any change while a run of the thread is marked: `undo` needs the older checkpoints.
        """
        ...


class FenceableStore(Protocol):
    """Store that can refuse the writes of an attempt that has lost its run."""

    def fenced(self, check: Callable[[], object], holder: Holder) -> object:
        """Return the same store for one holder. ``check`` is called from any thread before each write, in its
        transaction; its error is raised to the caller of the write, and nothing is written.

        A store that shares the runs' database also checks there, in the same transaction, that ``holder`` still holds
        the run, and raises LeaseLost if it does not.
        """
        ...
