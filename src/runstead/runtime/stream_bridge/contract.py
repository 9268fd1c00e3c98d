"""The event channel of a run: subscribable, replayable, terminal-aware, resumable.

A stream is an append-only log per run. Readers hold an offset each into the same log,
so that a slow one blocks nobody. The bridge knows neither HTTP nor the meaning of an
event; ``data`` is JSON, encoded once by the publisher and shared by all readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

TerminalKind: TypeAlias = Literal["end", "error", "cancel"]
"""How a stream ended: the run came to its end, failed, or was stopped."""


class StreamStatus(StrEnum):
    """What a stream is doing."""

    OPEN = "open"
    AWAITING_INPUT = "awaiting_input"
    ENDED = "ended"
    ERRORED = "errored"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in (StreamStatus.ENDED, StreamStatus.ERRORED, StreamStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One entry of a run's log.

    ``id`` is ``{attempt}-{seq}``; ids of a stream strictly increase when compared as
    pairs of integers. ``event`` is the wire's name, with the namespace of a subgraph
    behind a bar (``values|child:uuid``). ``data`` is strict JSON in UTF-8. ``terminal``
    is set on exactly one event of a stream, its last.
    """

    id: str
    event: str
    data: bytes
    terminal: TerminalKind | None = None


class Sentinel(Enum):
    """What a subscription yields besides events; none of them is kept or has an id."""

    HEARTBEAT = "heartbeat"
    END = "end"
    CANCELLED = "cancelled"


HEARTBEAT_SENTINEL: Final = Sentinel.HEARTBEAT
"""Nothing was published for one heartbeat interval."""
END_SENTINEL: Final = Sentinel.END
"""The stream ended, by itself or with an error; follows the terminal event."""
CANCELLED_SENTINEL: Final = Sentinel.CANCELLED
"""The stream ended because its run was stopped; follows the terminal event."""

StreamItem: TypeAlias = StreamEvent | Sentinel

LIVE: Final = "$"
"""As a last event id: read only what is published from now on. On an ended stream that is its terminal event."""

FROM_THE_START: Final = ("-1", "0-0")
"""As a last event id: everything, and told of what is not kept any more."""

ResumeStatus: TypeAlias = Literal["fresh", "resumed", "evicted", "invalid"]


@dataclass(frozen=True, slots=True)
class ResumeResult:
    """Where a subscription starts, measured against what the reader asked for.

    ``fresh``: no id was given and everything kept is read, or ``$`` was and only what comes from now on. ``resumed``:
    strictly after the id, or from the first event for ``-1`` and ``0-0`` while nothing was evicted. ``evicted``: events
    after the id are gone; ``gap_count`` of them, or None when nobody knows how many (the
    process that held them died). ``invalid``: the id is garbage or lies in the future; read as ``-1``.
    ``oldest`` is the id of the first event still kept, if any. ``rejoin`` is the id to come back with once the current
    state was loaded: everything that is kept follows it, and the reader that comes back with it is ``resumed``. While
    the window of a running stream moves, it lies some way behind ``oldest``, so that it is still kept when the reader
    is back. None where the bridge cannot tell; it takes no part in comparisons.
    """

    status: ResumeStatus
    requested: str | None = None
    oldest: str | None = None
    gap_count: int | None = 0
    rejoin: str | None = field(default=None, compare=False)


@runtime_checkable
class StreamSubscription(Protocol):
    """One reader's place in one run's log."""

    @property
    def resumed(self) -> ResumeResult:
        """Where this subscription started.

        When the window overtakes a slow reader, its next `read` starts again at the oldest event kept, and this
        becomes another ResumeResult: ``evicted``, measured against the last id it was given (and so replacing what
        was said about that id before). Look here after each read, and tell of the gap before what was read.
        """
        ...

    async def read(self) -> Sequence[StreamItem]:
        """What can be read now, at least one item; waits when there is nothing yet. A long backlog may come in pieces,
        so that a reader who does not come back holds no more of the log than one of them.

        ``[HEARTBEAT_SENTINEL]`` after a silent heartbeat interval. The terminal event is
        followed by its sentinel in the same batch; after that, every call returns an empty sequence.
        Raises BridgeClosed when the bridge closes before the stream has ended, and StreamNotFound when the stream is
        forgotten before that; both only after everything that is there has been read.
        A read that is cancelled loses nothing: the next one returns the same items.
        """
        ...

    async def aclose(self) -> None:
        """Leave. Safe to call twice, and in the middle of the log; stops nothing but this reader.

        A read that waits returns an empty sequence, as does every later one.
        """
        ...


class StreamBridge(Protocol):
    """Carries the events of runs from the one who executes to those who read."""

    async def start(self) -> None:
        """Begin housekeeping. Called once, before anything else."""
        ...

    async def close(self) -> None:
        """Shut the bridge. Wakes every reader with BridgeClosed. Is neither an end nor a cancel of any run.

        Opening, publishing and subscribing raise BridgeClosed from then on. Closing twice is closing once.
        """
        ...

    async def open(self, run_id: str, attempt: int = 1) -> None:
        """Make the stream of a run exist, and let ``attempt`` publish from now on.

        Opening an open stream keeps its log; a higher attempt takes over (ids continue as
        ``{attempt}-1``), a lower one changes nothing. A terminated stream stays terminated.
        Raises CapacityExceeded when no room can be made.
        """
        ...

    async def publish(self, run_id: str, event: str, data: bytes, *, attempt: int = 1) -> str:
        """Append, wake the readers, and return the event's id.

        Never blocked by a reader. Raises StreamNotFound, StreamTerminated, or StaleAttempt when a
        higher attempt has taken over. An attempt higher than the stream's takes over by publishing.
        """
        ...

    async def publish_end(self, run_id: str, *, attempt: int = 1) -> str:
        """``publish_terminal`` of kind ``end`` with the data ``null``."""
        ...

    async def publish_terminal(self, run_id: str, kind: TerminalKind, data: bytes, *, attempt: int = 1) -> str:
        """Append the terminal event and return its id; a second terminal returns the first one's id.

        The terminal event does not count towards the window and is never evicted. The log
        is kept for the retention time, so that late readers still find it.
        """
        ...

    async def subscribe(
        self, run_id: str, last_event_id: str | None = None, heartbeat_interval: float | None = None
    ) -> StreamSubscription:
        """Attach a reader; see ResumeResult for where it starts. ``heartbeat_interval`` in seconds; None for no
        heartbeats.

        Subscribing creates nothing: StreamNotFound for a run that has no stream. A finished
        stream is replayed and ends.
        """
        ...

    async def status(self, run_id: str) -> StreamStatus | None:
        """What the stream is doing, or None when there is none, or none can be asked about."""
        ...

    async def unended(self) -> Sequence[str]:
        """Runs whose streams have not ended, in no order. When there are very many, it is some of them, drawn by
        chance; one that has ended since may be among them. Empty when nothing can be asked.
        """
        ...

    async def mark_awaiting_input(self, run_id: str) -> None:
        """The run stopped to ask a human: keep its log for the longer, human retention. Unknown runs are ignored."""
        ...

    async def cancel(self, run_id: str, *, attempt: int = 1) -> None:
        """``publish_terminal`` of kind ``cancel`` with the data ``null``; nothing for an unknown or ended stream."""
        ...

    async def cleanup(self, run_id: str, delay: float = 0) -> None:
        """Forget the stream after ``delay`` seconds. Readers in the middle of it still read to its end."""
        ...
