"""Contract of a run's event channel: subscribable, replayable, terminal-aware, resumable.

A stream is an append-only log per run. Each reader has its own offset into the same log, so that a slow reader blocks
no other. The bridge knows neither HTTP nor the meaning of an event; ``data`` is JSON, encoded once by the publisher and
shared by all readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

TerminalKind: TypeAlias = Literal["end", "error", "cancel"]
"""End of a stream: the run completed, failed, or was stopped."""


class StreamStatus(StrEnum):
    """Status of a stream.

    An ``open`` stream is ``ended``, ``errored`` or ``cancelled`` after its terminal event. One that has ended is
    ``awaiting_input`` from `StreamBridge.mark_awaiting_input` to `StreamBridge.mark_answered`.
    """

    OPEN = "open"
    AWAITING_INPUT = "awaiting_input"
    ENDED = "ended"
    ERRORED = "errored"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True if the terminal event was published."""
        return self is not StreamStatus.OPEN


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One entry of a run's log.

    ``id`` is ``{attempt}-{seq}``; the ids of a stream strictly increase when compared as pairs of integers. ``event``
    is the name on the wire, followed by the namespace of a subgraph after a bar (``values|child:uuid``). ``data`` is
    strict JSON in UTF-8. ``terminal`` is set on exactly one event of a stream, its last.
    """

    id: str
    event: str
    data: bytes
    terminal: TerminalKind | None = None


class Sentinel(Enum):
    """Items of a subscription that are not events; they are not stored and have no id."""

    HEARTBEAT = "heartbeat"
    END = "end"
    CANCELLED = "cancelled"


HEARTBEAT_SENTINEL: Final = Sentinel.HEARTBEAT
"""Nothing was published for one heartbeat interval."""
END_SENTINEL: Final = Sentinel.END
"""The stream ended normally or with an error; follows the terminal event."""
CANCELLED_SENTINEL: Final = Sentinel.CANCELLED
"""The stream ended because its run was stopped; follows the terminal event."""

StreamItem: TypeAlias = StreamEvent | Sentinel

LIVE: Final = "$"
"""As a last event id: read only events published from now on. On a stream that has ended, read its terminal event."""

FROM_THE_START: Final = ("-1", "0-0")
"""As a last event id: read all events, and report those that are no longer kept as a gap."""

ResumeStatus: TypeAlias = Literal["fresh", "resumed", "evicted", "invalid"]


@dataclass(frozen=True, slots=True)
class ResumeResult:
    """Start of a subscription compared with the reader's request.

    ``fresh``: no id was given and everything kept is read, or ``$`` was given and only new events are read.
    ``resumed``: strictly after the id, or from the first event for ``-1`` and ``0-0`` while nothing was evicted.
    ``evicted``: events after the id are gone; ``gap_count`` is their number, or None if it is unknown (the process that
    held them died). ``invalid``: the id is malformed or lies in the future; read as ``-1``. ``oldest`` is the id of the
    first event still kept, if any. ``rejoin`` is the id to return with after loading the current state: everything that
    is kept follows it, and a reader that returns with it is ``resumed``. While the window of a running stream moves, it
    lies some way after ``oldest``, so that it is still kept when the reader returns. It is None if the bridge cannot
    determine it, and is ignored in comparisons.
    """

    status: ResumeStatus
    requested: str | None = None
    oldest: str | None = None
    gap_count: int | None = 0
    rejoin: str | None = field(default=None, compare=False)


@runtime_checkable
class StreamSubscription(Protocol):
    """Position of one reader in one run's log."""

    @property
    def resumed(self) -> ResumeResult:
        """Start of this subscription.

        If the window overtakes a slow reader, its next `read` starts again at the oldest event kept, and this property
        changes to a new ResumeResult: ``evicted``, measured from the last id that the reader received (and so replacing
        the earlier result for that id). Check it after each read, and report the gap before the items that were read.
        """
        ...

    async def read(self) -> Sequence[StreamItem]:
        """Return the items that can be read now, at least one; wait if there are none yet. A long backlog may arrive in
        several batches, so that an absent reader holds only one of them in memory.

        Returns ``[HEARTBEAT_SENTINEL]`` after a silent heartbeat interval. The terminal event is followed by its
        sentinel in the same batch; after that, every call returns an empty sequence. Raises BridgeClosed if the bridge
        closes before the stream has ended, and StreamNotFound if the stream is deleted before that; both only after all
        available items were read. A cancelled read loses nothing: the next one returns the same items.
        """
        ...

    async def aclose(self) -> None:
        """End this subscription. Safe to call twice, and in the middle of the log; affects only this reader.

        A waiting read returns an empty sequence, as does every later read.
        """
        ...


class StreamBridge(Protocol):
    """Carrier of run events from the worker that executes a run to its readers."""

    async def start(self) -> None:
        """Begin maintenance. Called once, before anything else."""
        ...

    async def close(self) -> None:
        """Close the bridge, and wake every reader with BridgeClosed. Neither ends nor cancels any run.

        Opening, publishing and subscribing raise BridgeClosed from then on. Idempotent.
        """
        ...

    async def open(self, run_id: str, attempt: int = 1) -> None:
        """Create the stream of a run if needed, and let ``attempt`` publish from now on.

        Opening an open stream keeps its log. A higher attempt takes over (ids continue with ``{attempt}-1``); a lower
        one changes nothing. A stream that has ended stays ended. Raises CapacityExceeded if no room can be made.
        """
        ...

    async def publish(self, run_id: str, event: str, data: bytes, *, attempt: int = 1) -> str:
        """Append an event, wake the readers, and return the event's id.

        Never blocked by a reader. Raises StreamNotFound, StreamTerminated, or StaleAttempt if a higher attempt has
        taken over. An attempt higher than the stream's takes over by publishing.
        """
        ...

    async def publish_end(self, run_id: str, *, attempt: int = 1) -> str:
        """Call ``publish_terminal`` with kind ``end`` and the data ``null``."""
        ...

    async def publish_terminal(self, run_id: str, kind: TerminalKind, data: bytes, *, attempt: int = 1) -> str:
        """Append the terminal event and return its id; a second terminal event returns the first one's id.

        The terminal event does not count towards the window and is never evicted. The log is kept for the retention
        time, so that late readers still find it.
        """
        ...

    async def subscribe(
        self, run_id: str, last_event_id: str | None = None, heartbeat_interval: float | None = None
    ) -> StreamSubscription:
        """Attach a reader; see ResumeResult for its start. ``heartbeat_interval`` is in seconds; None for no
        heartbeats.

        Subscribing creates nothing: it raises StreamNotFound for a run that has no stream. A stream that has ended is
        replayed and ends.
        """
        ...

    async def status(self, run_id: str) -> StreamStatus | None:
        """Return the stream's status, or None if there is no stream, or its server cannot be reached."""
        ...

    async def list_open(self) -> Sequence[str]:
        """Return runs whose streams are open, in no order.

        If there are very many, return a random sample; it may include streams that have ended since. Empty if the
        server cannot be reached.
        """
        ...

    async def mark_awaiting_input(self, run_id: str) -> None:
        """Mark a run that has ended as waiting for a human, so that its log is kept for the longer, human retention.

        Ignored for runs whose stream is unknown, open, errored or cancelled: they ask nothing.
        """
        ...

    async def mark_answered(self, run_id: str) -> None:
        """Mark the run as no longer waiting; its log is kept for the retention time from now on. Ignored for all other
        runs."""
        ...

    async def cancel(self, run_id: str, *, attempt: int = 1) -> None:
        """Call ``publish_terminal`` with kind ``cancel`` and the data ``null``. Ignored for an unknown or ended
        stream."""
        ...

    async def cleanup(self, run_id: str, delay: float = 0) -> None:
        """Delete the stream after ``delay`` seconds. Readers in the middle of it still read to its end."""
        ...
