"""Measure the storage that a thread's checkpoints and pending writes use, by channel."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.runtime.runs.store import ChannelBytes, CheckpointBytes
from runstead.runtime.runs.types import ThreadId

from .driver import Driver

_BATCH: Final = 50
_CHECKPOINTS: Final = (
    "SELECT checkpoint_ns, type, checkpoint, length(checkpoint) + coalesce(length(metadata), 0)"
    " FROM checkpoints WHERE thread_id = ?"
)
_WRITES: Final = "SELECT count(*), coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = ?"


def measure(driver: Driver, serde: SerializerProtocol, thread_id: ThreadId) -> CheckpointBytes:
    """Return the stored bytes of a thread. Each version of a channel counts once, though checkpoints repeat it.

    Checkpoints that ``serde`` does not decode count only in the total, without their channels.
    """
    count = stored = 0
    versions = ChannelVersions(serde)
    rows = driver.execute(_CHECKPOINTS, (thread_id,))
    while batch := rows.fetchmany(_BATCH):
        for namespace, kind, blob, size in batch:
            count, stored = count + 1, stored + int(size)
            # A damaged checkpoint also counts only in the total.
            with suppress(ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
                checkpoint = serde.loads_typed((kind, bytes(blob)))
                if isinstance(checkpoint, Mapping):
                    versions.add(namespace, checkpoint)
    writes, written = driver.execute(_WRITES, (thread_id,)).fetchone()
    return CheckpointBytes(count, stored, versions.channels, int(writes), int(written))


class ChannelVersions:
    """The channel versions in some checkpoints, and their size in bytes as encoded by ``serde``."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde
        self._seen: set[tuple[str, str, object]] = set()
        self.channels: dict[str, ChannelBytes] = {}

    def add(self, namespace: str, checkpoint: Mapping[str, Any]) -> None:
        """Count the versions of a checkpoint that were not counted before."""
        values = checkpoint.get("channel_values") or {}
        for channel, version in (checkpoint.get("channel_versions") or {}).items():
            if (key := (namespace, channel, version)) in self._seen:
                continue
            self._seen.add(key)
            own = len(self._serde.dumps_typed(values[channel])[1]) if channel in values else 0
            before = self.channels.get(channel, ChannelBytes(0, 0))
            self.channels[channel] = ChannelBytes(before.versions + 1, before.size + own)
