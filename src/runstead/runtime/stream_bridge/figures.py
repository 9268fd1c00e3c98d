"""Figures about the streams of this process, for metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Streams of this process.

    ``readers`` read here, ``lag`` events behind the end at most (of streams in memory). ``kept_bytes``: memory of
    events that are kept or held for readers. ``unsent_bytes``: events that Redis has not acknowledged, and ``dropped``
    the number of events lost because they were too many.
    """

    streams: int = 0
    readers: int = 0
    lag: int = 0
    kept_bytes: int = 0
    unsent_bytes: int = 0
    dropped: int = 0


@runtime_checkable
class MeasuredBridge(Protocol):
    """A stream bridge that reports on its streams."""

    def figures(self) -> StreamFigures: ...
