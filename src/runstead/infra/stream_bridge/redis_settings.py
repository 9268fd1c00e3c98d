"""How much Redis keeps of each run's stream, for how long, and what a process may hold on the way there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .keys import KeySpace
from .places import most_events

MIB: Final = 1024 * 1024
WINDOW_BYTES: Final = 64 * MIB
"""Of one run, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class RedisStreamSettings:
    """How much is kept, and for how long. What has the same name in memory means the same, for all processes together.

    ``unowned_retention``: seconds after which a stream leaves when all who published to it or read it have died.
    ``buffer_bytes``: memory for events that Redis has not taken yet; ``tail_bytes``: for the live ends that are read
    here. ``streams_per_reader``: how many streams one blocked connection waits for. ``patience``: seconds that a call
    waits for Redis before it goes on without. ``prefix`` begins the names of all keys.
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
        """How many events of a run are kept at most."""
        return most_events(self.window_events, self.window_bytes)
