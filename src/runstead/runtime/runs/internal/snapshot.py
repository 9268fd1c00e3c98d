"""What a run needs to know of its thread's state: JSON of the values, pending interrupts, what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from runstead.runtime.serialization import encode

from ..agents import Agent
from ..interrupts import pending_interrupts, shown_interrupt


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """A thread's state at its latest checkpoint, encoded. ``next`` are the nodes that would run now."""

    values: bytes | None = None
    interrupts: bytes = b"{}"
    next: tuple[str, ...] = ()
    checkpoint_id: str | None = None

    @property
    def is_waiting(self) -> bool:
        """The graph stopped before its end: at an interrupt, a breakpoint, or an error."""
        return bool(self.next)


async def read_snapshot(agent: Agent, config: Mapping[str, Any]) -> StateSnapshot:
    """Read the state. On an agent loop, for the graph's own code may run."""
    state = await agent.aget_state(config)
    checkpoint_id = (state.config or {}).get("configurable", {}).get("checkpoint_id")
    if checkpoint_id is None:
        return StateSnapshot()
    pending = {
        task.id: [shown_interrupt(interrupt) for interrupt in task.interrupts]
        for task in state.tasks
        if task.interrupts
    }
    return StateSnapshot(encode(state.values), encode(pending), tuple(state.next), checkpoint_id)


async def read_stored(saver: BaseCheckpointSaver[Any], thread_id: str) -> StateSnapshot:
    """As much as the checkpoint alone tells, without the graph: the values are left out, and of ``next`` only
    interrupted tasks are known.
    """
    stored = await saver.aget_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    if stored is None:
        return StateSnapshot()
    pending = pending_interrupts(stored.pending_writes)
    return StateSnapshot(None, encode(pending), tuple(pending), stored.checkpoint["id"])
