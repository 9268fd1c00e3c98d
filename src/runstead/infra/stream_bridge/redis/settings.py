"""Limits on the streams that Redis keeps, and on the memory of a process for writing and reading them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..offsets import most_events
from .keys import KeySpace

MIB: Final = 1024 * 1024
WINDOW_BYTES: Final = 64 * MIB
"""Default for one run."""


@dataclass(frozen=True, slots=True)
class RedisStreamSettings:
    """Limits on the size and the lifetime of streams.

    Options with the same name as in MemoryStreamSettings mean the same, for all processes together.
    ``unowned_retention``: seconds after which a stream expires when all its publishers and readers have died.
    ``buffer_bytes``: memory for events that Redis has not acknowledged; ``tail_bytes``: for the live ends that are
    read here. ``streams_per_reader``: number of streams that one blocked connection waits for. ``patience``: seconds
    that a call waits for Redis before it continues without. ``prefix``: prefix of all key names.
    """

    window_events: int | None = None
    window_bytes: int = WINDOW_BYTES
    retention: float = 300
    awaiting_retention: float = 2 * 60 * 60
    unowned_retention: float = 60 * 60
    max_streams: int = 100_000
    buffer_bytes: int = 64 * MIB
    tail_bytes: int = 64 * MIB
    streams_per_reader: int = 300
    patience: float = 1.0
    prefix: str = "runstead"

    def __post_init__(self) -> None:
        counts = (self.most_events, self.window_bytes, self.max_streams, self.buffer_bytes, self.tail_bytes)
        if min(*counts, self.streams_per_reader) < 1:
            raise ValueError(
                "window_events, window_bytes, max_streams, buffer_bytes, tail_bytes and streams_per_reader "
                "must be at least 1"
            )
        if min(self.retention, self.awaiting_retention, self.patience) < 0:
            raise ValueError("retention, awaiting_retention and patience cannot be negative")
        if self.unowned_retention < 1:
            raise ValueError("unowned_retention must be at least 1 second: owners renew it a few times in that time")
        KeySpace(self.prefix)

    @property
    def most_events(self) -> int:
        """Return the maximum number of events kept of a run."""
        return most_events(self.window_events, self.window_bytes)
