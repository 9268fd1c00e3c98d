"""Content of the streams of a cluster, while they exist: its Valkey loses them now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import redis

from runstead.cli.servers.valkey import ValkeyServer


@dataclass(frozen=True, slots=True)
class StreamEnds:
    """One run's stream: its number of terminal events, and whether its last event is one."""

    terminals: int
    ends_so: bool

    @property
    def is_right(self) -> bool:
        """True if there is one terminal event, and nothing after it."""
        return self.terminals == 1 and self.ends_so


@dataclass(frozen=True, slots=True)
class Loss:
    """All ``streams`` as they were when lost at ``since``; the server returned at ``back`` (both epoch seconds)."""

    streams: Mapping[str, StreamEnds]
    since: float
    back: float


def streams_of(valkey: ValkeyServer) -> dict[str, StreamEnds]:
    """All existing streams, by run."""
    with redis.Redis.from_url(valkey.url) as server:
        keys = list(server.scan_iter(match="*:log:*", count=1_000))
        found = {}
        for key in keys:
            entries = server.xrange(key)
            if any(b"x" in fields for _, fields in entries):
                # A removed stream, kept for its current readers.
                continue
            ends = [b"t" in fields for _, fields in entries]
            found[key.rpartition(b":")[2].decode()] = StreamEnds(sum(ends), bool(ends) and ends[-1])
    return found
