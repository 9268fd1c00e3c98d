"""Thread states on the wire: checkpoints seen through their graph, in the form for clients."""

from __future__ import annotations

from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from runstead.resources.state_views import TaskState, ThreadState
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import CheckpointRef

from .body import WireModel
from .errors import Unprocessable
from .identifiers import CheckpointIdField, as_uuid
from .pages import Limit
from .runs import CheckpointBody

STATE_FIELDS: Final = (
    "values", "next", "tasks", "metadata", "created_at", "checkpoint", "parent_checkpoint", "interrupts",
    "checkpoint_id", "parent_checkpoint_id",
)  # fmt: skip
"""Fields that ``select`` may name."""
STATE_OBJECTS: Final = ("values", "metadata")
"""Fields of which ``select`` may name single keys."""


class StateUpdate(WireModel):
    """State update as if node ``as_node`` had returned the values, on top of the latest checkpoint or the named one."""

    values: JsonObject | list[Any] | None = None
    as_node: str | None = None
    checkpoint: CheckpointBody | None = None
    checkpoint_id: CheckpointIdField | None = None

    def place(self) -> CheckpointRef | None:
        return place_of(self.checkpoint, self.checkpoint_id)


class StatePatch(WireModel):
    """Metadata to add to the thread, which is how the JavaScript SDK patches a state."""

    metadata: JsonObject


class StateAt(WireModel):
    """Checkpoint whose state is read, with the namespace of a subgraph if needed."""

    checkpoint: CheckpointBody
    subgraphs: bool | None = None
    select: list[str] | None = None


class HistoryQuery(WireModel):
    """Page of earlier states, newest first. ``before`` is an id, a checkpoint, or a config that contains one."""

    limit: Limit | None = None
    before: str | JsonObject | None = None
    metadata: JsonObject | None = None
    checkpoint: CheckpointBody | None = None
    select: list[str] | None = None


STATE_UPDATE: Final[TypeAdapter[StateUpdate]] = TypeAdapter(StateUpdate)
STATE_PATCH: Final[TypeAdapter[StatePatch]] = TypeAdapter(StatePatch)
STATE_AT: Final[TypeAdapter[StateAt]] = TypeAdapter(StateAt)
HISTORY_QUERY: Final[TypeAdapter[HistoryQuery]] = TypeAdapter(HistoryQuery)


def place_of(checkpoint: CheckpointBody | None, checkpoint_id: str | None) -> CheckpointRef | None:
    """Return the checkpoint that a checkpoint and a separate id name together; None is the latest."""
    if checkpoint is None:
        return CheckpointRef(checkpoint_id) if checkpoint_id else None
    ref = checkpoint.to_ref()
    return CheckpointRef(checkpoint_id or ref.checkpoint_id, ref.checkpoint_ns, ref.checkpoint_map)


def before_of(value: str | JsonObject | None) -> str | None:
    """Return the checkpoint id in any form of ``before`` that clients use. Raises Unprocessable."""
    if value is None:
        return None
    if isinstance(value, dict):
        inner = value.get("configurable")
        found = inner.get("checkpoint_id") if isinstance(inner, dict) else value.get("checkpoint_id")
    else:
        found = value
    if not isinstance(found, str) or (checkpoint_id := as_uuid(found)) is None:
        raise Unprocessable(
            "before: give a checkpoint id, a checkpoint, or a config with a checkpoint_id in configurable"
        )
    return checkpoint_id


def from_thread_state(state: ThreadState) -> JsonObject:
    """Return a state in the form for clients, for `orjson.dumps`."""
    return {
        "values": orjson.Fragment(state.values),
        "next": list(state.next),
        "tasks": [_task(task) for task in state.tasks],
        "metadata": None if state.metadata is None else orjson.Fragment(state.metadata),
        "created_at": state.created_at,
        "checkpoint": state.checkpoint,
        "parent_checkpoint": state.parent_checkpoint,
        "interrupts": orjson.Fragment(state.interrupts),
        # Old clients read the ids here.
        "checkpoint_id": _id(state.checkpoint),
        "parent_checkpoint_id": _id(state.parent_checkpoint),
    }


def from_update(checkpoint: JsonObject) -> JsonObject:
    """Return the response to a state update: the new checkpoint, in the three forms that clients read."""
    return {"checkpoint": checkpoint, "configurable": checkpoint, "checkpoint_id": checkpoint["checkpoint_id"]}


def _task(task: TaskState) -> JsonObject:
    return {
        "id": task.id,
        "name": task.name,
        "path": orjson.Fragment(task.path),
        "error": task.error,
        "interrupts": orjson.Fragment(task.interrupts),
        "checkpoint": task.checkpoint,
        "state": None if task.state is None else from_thread_state(task.state),
        "result": None if task.result is None else orjson.Fragment(task.result),
    }


def _id(checkpoint: JsonObject | None) -> str | None:
    return checkpoint.get("checkpoint_id") if checkpoint else None
