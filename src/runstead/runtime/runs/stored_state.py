"""Graph copies that read stored states without calling the author's code, for states on which that code raises.

LangGraph applies reducers to pending writes when a state is read, and validates the input of the next nodes. A reducer
or validator that raises would make the thread permanently unreadable. If the factory itself raises there is no graph,
and `stored_snapshot` is used instead.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, DeltaChannelHistory
from langgraph.types import PregelTask, StateSnapshot

from runstead.runtime.storage_fault import StorageFault

from ..json_types import JsonMapping, JsonObject
from .agents import Agent
from .exceptions import RunError
from .interrupts import NO_TASK, TASK_EVENTS, asked_interrupts

T = TypeVar("T")

_log = logging.getLogger(__name__)

OURS: Final = (RunError, StorageFault)
"""Errors that originate in this server, not in a graph's code."""
BROKEN: Final = (Exception, SystemExit, KeyboardInterrupt)
"""Exceptions that a graph's code may raise, except for cancellation."""

_BRANCH: Final = "branch:to:"
"""Prefix of the channels that trigger the nodes of a StateGraph."""
_JOIN: Final = "join:"
"""Prefix of the channels that wait for several nodes. The channel's name contains these nodes and the node that
follows."""
_INTERNAL: Final = ("__", "branch:", "join:", "start:")
"""Prefixes of channels that are not part of any state."""
_RESULT: Final = "__end__"
"""Channel with the return value of a functional entrypoint."""
_SENDS: Final = "__pregel_tasks"


async def read_state(agent: Agent, config: JsonMapping) -> Any:
    """Return the graph's StateSnapshot. If the author's code raises, return the stored state, read without that
    code."""
    try:
        return await agent.aget_state(config)
    except OURS:
        raise
    except BROKEN:
        _log.warning("reading a state without the graph's own code, which raised an error", exc_info=True)
        return await without_author_code(agent).aget_state(config)


def without_validation(agent: T) -> T:
    """Return a copy of a compiled graph that does not validate the input of its nodes. Not for execution."""
    graph: Any = agent
    nodes = {name: _unvalidated(node) for name, node in getattr(graph, "nodes", {}).items()}
    copied: T = graph.copy(update={"nodes": nodes})
    return copied


def without_author_code(agent: T) -> T:
    """Return a copy of a compiled graph for reading: it neither applies pending writes nor validates anything."""
    graph: Any = without_validation(agent)
    quiet: T = graph.copy(update={"checkpointer": _AsStored(graph.checkpointer)})
    return quiet


def nodes_of_step(saved: CheckpointTuple) -> list[str]:
    """Return the nodes of the step after a checkpoint, including those that have ended, as a history shows them.

    Limited to the information in the channels of a StateGraph or an entrypoint.
    """
    stored: JsonMapping = saved.checkpoint["channel_values"]
    nodes = [send.node for send in stored.get(_SENDS) or ()]
    nodes += [name.removeprefix(_BRANCH) for name in stored if name.startswith(_BRANCH)]
    nodes += [name.rpartition(":")[2] for name, seen in stored.items() if _is_complete(name, seen)]
    return nodes + (["__start__"] if "__start__" in stored else [])


def is_unfinished(saved: CheckpointTuple) -> bool:
    """Return whether a node of the step after a checkpoint has not ended yet."""
    writes = saved.pending_writes or ()
    ended = {task for task, channel, _ in writes if task != NO_TASK and channel not in TASK_EVENTS}
    return len(nodes_of_step(saved)) > len(ended)


def _is_complete(name: str, seen: object) -> bool:
    """Return whether a channel that waits for several nodes has received all of them."""
    starts, _, _ = name.removeprefix(_JOIN).rpartition(":")
    return (
        name.startswith(_JOIN)
        and isinstance(seen, set)
        and "+".join(sorted(seen)) == "+".join(sorted(starts.split("+")))
    )


def stored_snapshot(saved: CheckpointTuple) -> StateSnapshot:
    """Return the state in a checkpoint as far as it is known without its graph.

    The values are those of all channels, including private ones, without values that LangGraph computes from a history
    of writes. A task has a name only if the next step has a single node.
    """
    stored: JsonMapping = saved.checkpoint["channel_values"]
    comes = nodes_of_step(saved)
    name = comes[0] if len(comes) == 1 else ""
    asked = asked_interrupts(saved.pending_writes)
    tasks = tuple(PregelTask(task_id, name, (), None, tuple(interrupts)) for task_id, interrupts in asked.items())
    return StateSnapshot(
        values=_values(stored),
        next=tuple(comes),
        config=saved.config,
        metadata=saved.metadata,
        created_at=saved.checkpoint["ts"],
        parent_config=saved.parent_config,
        tasks=tasks,
        interrupts=tuple(interrupt for task in tasks for interrupt in task.interrupts),
    )


def _values(stored: JsonMapping) -> object:
    values = {name: value for name, value in stored.items() if not name.startswith(_INTERNAL)}
    return stored[_RESULT] if not values and _RESULT in stored else values


def _unvalidated(node: Any) -> object:
    plain = copy.copy(node)
    plain.mapper = None
    return plain


class _AsStored(BaseCheckpointSaver[Any]):
    """Read access to ``inner`` without pending writes that contain values."""

    def __init__(self, inner: BaseCheckpointSaver[Any]) -> None:
        super().__init__(serde=inner.serde)
        self._inner = inner

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await self._inner.aget_tuple(config)
        return None if found is None else _without_values(found)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: JsonObject | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async for found in self._inner.alist(config, filter=filter, before=before, limit=limit):
            yield _without_values(found)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._inner.aget_delta_channel_history(config=config, channels=channels)


def _without_values(found: CheckpointTuple) -> CheckpointTuple:
    kept = [write for write in found.pending_writes or () if write[0] != NO_TASK and write[1] in TASK_EVENTS]
    return found._replace(pending_writes=kept)
