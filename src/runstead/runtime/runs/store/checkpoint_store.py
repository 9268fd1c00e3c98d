"""Port: what the kernel asks of checkpoints beyond what a graph does with its saver.

A rollback has to restore a thread exactly: the checkpoints that a run wrote go, and the pending
writes it put onto older checkpoints (a resume does that) are as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..types import Holder, RunId, ThreadId


class FenceableSaver(Protocol):
    """A saver that may be used from any event loop, and asks by itself whether it may write.

    A graph on a loop of its own then needs no other loop for its checkpoints: what it saves is encoded where it runs,
    and the fence stands in the transaction of the write, where nothing can come between.
    """

    def fenced(self, check: Callable[[], object], holder: Holder | None = None) -> Any:
        """The same saver for one holder. ``check`` is called from any thread, as the last thing before each write;
        what it raises is raised to who writes, and nothing is written.

        A saver that shares its storage with other processes asks that storage too, in the transaction of the write,
        whether the run is still ``holder``'s, and raises LeaseLost when it is not. None: no run is written for.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChannelBytes:
    """Versions of a channel's value, and the bytes of all of them."""

    versions: int
    size: int


@dataclass(frozen=True, slots=True)
class CheckpointBytes:
    """What is stored of a thread's states: ``stored`` bytes in ``count`` checkpoints, and pending writes."""

    count: int
    stored: int
    channels: Mapping[str, ChannelBytes]
    writes: int
    written: int


class RunCheckpointStore(Protocol):
    """Checkpoints of threads, by the run that wrote them (``run_id`` in the checkpoint's metadata)."""

    @property
    def saver(self) -> Any:
        """langgraph's BaseCheckpointSaver. Usable from the event loop it was opened on; graphs get it behind a
        fence, by way of that loop, unless it is a `FenceableSaver` as well.
        """
        ...

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        """Remember, durably, what `undo` will need, and return the id of the thread's latest root checkpoint, if any.

        Called before the run's first write; marking twice keeps the first mark.
        """
        ...

    async def sync(self) -> None:
        """Return once all that was written before this call would survive a power cut.

        Called before a run is settled and before a state update is acknowledged. Writes need not be durable by
        themselves; they survive the process in any case.
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

    async def copy_thread(self, source: ThreadId, target: ThreadId) -> None:
        """Give ``target``, which has none, all checkpoints and pending writes of ``source``, as they are at one moment.

        Under the same ids, so that the chain behind each is there. From then on the two have nothing in common; what a
        `mark` keeps stays with ``source``.
        """
        ...

    async def measure(self, thread_id: ThreadId) -> CheckpointBytes:
        """Return how much is stored of a thread. Reads all of its checkpoints."""
        ...

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        """Delete the thread's checkpoints but for the latest of each namespace, and what that one is read with.

        False, and nothing has happened, while a run of the thread is marked: `undo` needs the older ones.
        """
        ...
