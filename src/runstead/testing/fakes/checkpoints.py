"""Checkpoints in memory: langgraph's own saver, with marks for rollbacks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id
from langgraph.checkpoint.memory import InMemorySaver

from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.store import ChannelBytes, CheckpointBytes
from runstead.runtime.runs.types import RunId, ThreadId


class PickleSerde:
    """A serializer that is faster than langgraph's, and sufficient within one process."""

    def dumps_typed(self, obj: object) -> tuple[str, bytes]:
        return "pickle", pickle.dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return pickle.loads(data[1])


class OrderedMemorySaver(InMemorySaver):
    """langgraph's saver in memory; here the latest checkpoint is the one written last, whatever its id."""

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = config["configurable"]
        if get_checkpoint_id(config) is None:
            written = self.storage.get(place["thread_id"], {}).get(place.get("checkpoint_ns", ""))
            if not written:
                return None
            latest = {"checkpoint_ns": "", **place, "checkpoint_id": next(reversed(written))}
            config = {"configurable": {name: latest[name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id")}}
        return super().get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: JsonObject | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        found = {tuple(one.config["configurable"].values()): one for one in super().list(config, filter=filter)}
        ordered = [found[key] for key in self._keys() if key in found][::-1]
        if before is not None and (earlier := get_checkpoint_id(before)):
            ids = [one.checkpoint["id"] for one in ordered]
            ordered = ordered[ids.index(earlier) + 1 :] if earlier in ids else ordered
        yield from ordered[:limit]

    def _keys(self) -> Iterator[tuple[str, str, str]]:
        """Yield thread, namespace and id of each checkpoint, in the order of writing within a namespace."""
        for thread_id, spaces in self.storage.items():
            for namespace, written in spaces.items():
                yield from ((thread_id, namespace, checkpoint_id) for checkpoint_id in written)


class _Mark:
    """A copy of a thread's checkpoints and pending writes. Values are immutable, so only the dicts are copied."""

    def __init__(self, saver: InMemorySaver, thread_id: ThreadId) -> None:
        spaces = saver.storage.get(thread_id, {})
        self.latest: str | None = next(reversed(spaces.get("", {})), None)
        self.checkpoints = {namespace: dict(kept) for namespace, kept in spaces.items()}
        self.writes = {key: dict(kept) for key, kept in saver.writes.items() if key[0] == thread_id}
        self.blobs = {key: kept for key, kept in saver.blobs.items() if key[0] == thread_id}

    def restore(self, saver: InMemorySaver, thread_id: ThreadId) -> None:
        saver.delete_thread(thread_id)
        for namespace, kept in self.checkpoints.items():
            saver.storage[thread_id][namespace] = dict(kept)
        for key, kept_writes in self.writes.items():
            saver.writes[key] = dict(kept_writes)
        saver.blobs.update(self.blobs)


class InMemoryCheckpointStore:
    """RunCheckpointStore over an InMemorySaver."""

    def __init__(self, saver: InMemorySaver | None = None) -> None:
        self._saver = OrderedMemorySaver(serde=PickleSerde()) if saver is None else saver
        self._marks: dict[tuple[ThreadId, RunId], _Mark] = {}

    @property
    def saver(self) -> InMemorySaver:
        return self._saver

    @property
    def marks(self) -> frozenset[tuple[ThreadId, RunId]]:
        """Return the runs that could still be undone."""
        return frozenset(self._marks)

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        mark = self._marks.get((thread_id, run_id))
        if mark is None:
            mark = self._marks[thread_id, run_id] = _Mark(self._saver, thread_id)
        return mark.latest

    async def sync(self) -> None:
        return

    async def measure(self, thread_id: ThreadId) -> CheckpointBytes:
        stored = [
            len(checkpoint[1]) + len(metadata[1])
            for checkpoints in self._saver.storage.get(thread_id, {}).values()
            for checkpoint, metadata, _ in checkpoints.values()
        ]
        versions: dict[str, list[int]] = {}
        for (thread, _, channel, _), blob in self._saver.blobs.items():
            if thread == thread_id:
                versions.setdefault(channel, []).append(len(blob[1]))
        channels = {channel: ChannelBytes(len(sizes), sum(sizes)) for channel, sizes in versions.items()}
        written = [
            len(write[2][1])
            for (thread, _, _), writes in self._saver.writes.items()
            if thread == thread_id
            for write in writes.values()
        ]
        # langgraph's saver stores channel values separately from the checkpoints that name their versions.
        values = sum(channel.size for channel in channels.values())
        return CheckpointBytes(len(stored), sum(stored) + values, channels, len(written), sum(written))

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        mark = self._marks.get((thread_id, run_id))
        if mark is not None:
            mark.restore(self._saver, thread_id)

    async def forget_mark(self, thread_id: ThreadId, run_id: RunId) -> None:
        # Runs marked on the thread before this one have settled, or were lost before they began: such an old mark
        # would lack everything done since.
        of_thread = [key for key in self._marks if key[0] == thread_id]
        if (thread_id, run_id) in self._marks:
            for key in of_thread[: of_thread.index((thread_id, run_id)) + 1]:
                del self._marks[key]

    async def delete_thread(self, thread_id: ThreadId) -> None:
        self._saver.delete_thread(thread_id)
        for key in [key for key in self._marks if key[0] == thread_id]:
            del self._marks[key]

    async def copy_thread(self, source: ThreadId, target: ThreadId) -> None:
        saver = self._saver
        for namespace, kept in saver.storage.get(source, {}).items():
            saver.storage[target][namespace] = dict(kept)
        for (thread_id, namespace, checkpoint_id), writes in list(saver.writes.items()):
            if thread_id == source:
                saver.writes[target, namespace, checkpoint_id] = dict(writes)
        for (thread_id, namespace, channel, version), blob in list(saver.blobs.items()):
            if thread_id == source:
                saver.blobs[target, namespace, channel, version] = blob

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        if any(marked == thread_id for marked, _ in self._marks):
            return False
        for namespace, kept in self._saver.storage.get(thread_id, {}).items():
            for checkpoint_id in list(kept)[:-1]:
                del kept[checkpoint_id]
                self._saver.writes.pop((thread_id, namespace, checkpoint_id), None)
        return True
