"""Synchronous methods of a checkpoint saver, by way of its asynchronous ones.

For graphs that are invoked from a synchronous node, which runs in a thread without an event loop.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    V,
)

T = TypeVar("T")


class BlockingSaver(BaseCheckpointSaver[V]):
    """Base of savers whose asynchronous methods run on one event loop. A subclass adds ``list``."""

    def _wait(self, doing: Coroutine[object, object, T]) -> T:
        """Run ``doing`` on the saver's loop and return its result, for a caller in a thread without an event loop."""
        raise NotImplementedError

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._wait(self.aget_tuple(config))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, object]], task_id: str, task_path: str = ""
    ) -> None:
        self._wait(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._wait(self.adelete_thread(thread_id))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._wait(self.aget_delta_channel_history(config=config, channels=channels))
