"""Key names of streams in Redis.

All keys of one run, and those of all runs in the same group, are in one hash slot of a Redis Cluster: a script may use
all keys of a run, and one command may read the streams of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zlib import crc32

GROUPS: Final = 64
"""Enough to spread over the nodes of a cluster; few enough for one connection each."""


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of a run. ``meta``: the state of the stream; it exists if the stream does. ``log``: its events.

    The log may outlive ``meta`` for a while, for readers that are in the middle of it.
    """

    meta: str
    log: str
    group: int


class KeySpace:
    """The key names of one deployment: several may share a server, each with its own prefix."""

    def __init__(self, prefix: str) -> None:
        if not prefix or set(prefix) & set("{}"):
            raise ValueError("the prefix of Redis keys cannot be empty or contain braces")
        self._prefix = prefix
        self.live = f"{{{prefix}.index}}:live"
        self.ended = f"{{{prefix}.index}}:ended"

    def of(self, run_id: str) -> RunKeys:
        group = crc32(run_id.encode()) % GROUPS
        tag = f"{{{self._prefix}.{group}}}"
        return RunKeys(f"{tag}:meta:{run_id}", f"{tag}:log:{run_id}", group)
