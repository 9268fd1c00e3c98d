"""Records which steps of a graph removed messages from the thread's state, in the metadata of later checkpoints.

A node that removes messages, usually to replace them by a summary, does not take them back: they stay part of the
chat. Removals by a client, in an input or an update, do take them back, and are not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langchain_core.messages import RemoveMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Overwrite

from ..json_types import JsonMapping, JsonObject
from .interrupts import NO_TASK

REMOVED_MESSAGES: Final = "removed_messages"
"""The key in the metadata of a checkpoint: the ids of the checkpoints before and after the last removal."""

_CHANNEL: Final = "messages"
_NODE_TASK: Final = "~__pregel_"
_INPUT_TASK: Final = "__start__"


class MessageRemovals:
    """Follows the checkpoints of one thread's root graph through one saver."""

    def __init__(self) -> None:
        self._last: JsonObject = {}
        self._removing: set[str] = set()
        self._cleared: set[str] = set()

    def loaded(self, saved: CheckpointTuple | None) -> None:
        """Note the checkpoint that a graph continues from, and removals in its pending writes."""
        if saved is None or saved.config["configurable"].get("checkpoint_ns"):
            return
        checkpoint_id = saved.checkpoint["id"]
        self._last = {checkpoint_id: saved.metadata.get(REMOVED_MESSAGES)}
        if saved.metadata.get("source") == "input":
            return
        for task_id, channel, value in saved.pending_writes or ():
            if task_id != NO_TASK and channel == _CHANNEL and _removed(value):
                self._removing.add(checkpoint_id)

    def written(self, config: JsonMapping, writes: Sequence[tuple[str, object]], task_path: str) -> None:
        """Note the writes of a task onto a checkpoint."""
        place = config["configurable"]
        if place.get("checkpoint_ns"):
            return
        removed = [one for channel, value in writes if channel == _CHANNEL for one in _removed(value)]
        if not removed:
            return
        if task_path.startswith(_NODE_TASK) and not task_path.endswith(_INPUT_TASK):
            self._removing.add(place["checkpoint_id"])
        elif REMOVE_ALL_MESSAGES in removed:
            self._cleared.add(place["checkpoint_id"])

    def stamp(self, config: JsonMapping, checkpoint: JsonMapping) -> JsonObject:
        """Return what the metadata of a new checkpoint say of the last removal: nothing, if there was none."""
        place = config["configurable"]
        if place.get("checkpoint_ns"):
            return {}
        parent, checkpoint_id = place.get("checkpoint_id"), checkpoint["id"]
        last = self._last.get(parent)
        if parent in self._removing:
            last = {"before": parent, "after": checkpoint_id}
        elif parent in self._cleared:
            last = None
        self._removing.discard(parent)
        self._cleared.discard(parent)
        self._last = {parent: self._last.get(parent), checkpoint_id: last}
        return {} if last is None else {REMOVED_MESSAGES: last}


def _removed(value: object) -> list[str]:
    """Return the ids of messages that a write removes; all of them for a write that replaces the channel."""
    if isinstance(value, Overwrite):
        return [REMOVE_ALL_MESSAGES]
    values = value if isinstance(value, list) else [value]
    return [str(one.id) for one in values if isinstance(one, RemoveMessage)]
