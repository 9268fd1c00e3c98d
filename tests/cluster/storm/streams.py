"""What stands on the streams of a cluster, while they are there: its Valkey is made to forget them now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import redis

from runstead.cli.servers.valkey import ValkeyServer


@dataclass(frozen=True, slots=True)
class Told:
    """One run's stream: how many terminal events it has, and whether the last of all its events is one."""

    terminals: int
    ends_so: bool

    @property
    def is_right(self) -> bool:
        """The end is told once, and nothing after it."""
        return self.terminals == 1 and self.ends_so


@dataclass(frozen=True, slots=True)
class Loss:
    """All ``streams`` as they stood when they were lost at ``since``; the server was back at ``back`` (both epoch)."""

    streams: Mapping[str, Told]
    since: float
    back: float


def streams_of(valkey: ValkeyServer) -> dict[str, Told]:
    """All streams that are there, by their runs."""
    with redis.Redis.from_url(valkey.url) as server:
        keys = list(server.scan_iter(match="*:log:*", count=1_000))
        found = {}
        for key in keys:
            entries = server.xrange(key)
            if any(b"x" in fields for _, fields in entries):
                # It was put away, and is left for those who are in the middle of it.
                continue
            ends = [b"t" in fields for _, fields in entries]
            found[key.rpartition(b":")[2].decode()] = Told(sum(ends), bool(ends) and ends[-1])
    return found
