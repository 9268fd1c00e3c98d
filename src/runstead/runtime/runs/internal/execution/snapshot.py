"""Thread state in the form that a run needs: values as JSON, output, pending interrupts, and whether the thread
waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from runstead.runtime.runs.agents import Agent
from runstead.runtime.runs.interrupts import INTERRUPT, pending_interrupts, shown_interrupt
from runstead.runtime.runs.stored_state import is_unfinished
from runstead.runtime.serialization import encode


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """Encoded state of a thread at its latest checkpoint.

    ``is_waiting`` means that the graph stopped before its end: at an interrupt, a breakpoint, a stop or an error.
    """

    values: bytes | None = None
    interrupts: bytes = b"{}"
    is_waiting: bool = False
    checkpoint_id: str | None = None


def snapshot_of(state: Any) -> StateSnapshot:
    """Encode the result of LangGraph's ``aget_state``."""
    checkpoint_id = _checkpoint_id(state)
    if checkpoint_id is None:
        return StateSnapshot()
    pending = {
        task.id: [shown_interrupt(interrupt) for interrupt in task.interrupts]
        for task in state.tasks
        if task.interrupts
    }
    return StateSnapshot(encode(state.values), encode(pending), bool(state.next), checkpoint_id)


def output_values(agent: Agent, state: Any) -> object:
    """Return the values of the graph's output channels; None without a checkpoint."""
    if _checkpoint_id(state) is None:
        return None
    channels = getattr(agent, "output_channels", None)
    if channels is None or isinstance(channels, str) or not isinstance(state.values, Mapping):
        return state.values
    return {name: value for name, value in state.values.items() if name in channels}


def waiting_interrupts(state: Any) -> tuple[Any, ...]:
    """Return the interrupts that wait for an answer, in the order of their tasks."""
    return tuple(interrupt for task in state.tasks if task.result is None for interrupt in task.interrupts)


def with_interrupts(values: Any, interrupts: Sequence[Any]) -> object:
    """Return ``values`` as clients read a run's output: with exactly the interrupts that wait for an answer."""
    if isinstance(values, Mapping):
        values = {name: value for name, value in values.items() if name != INTERRUPT}
    elif interrupts:
        # If a graph has a single output channel, LangGraph omits its value next to an interrupt.
        values = {}
    return {**values, INTERRUPT: tuple(interrupts)} if interrupts else values


def _checkpoint_id(state: Any) -> str | None:
    found: str | None = (state.config or {}).get("configurable", {}).get("checkpoint_id")
    return found


async def read_stored(saver: BaseCheckpointSaver[Any], thread_id: str) -> StateSnapshot:
    """Return the state that the checkpoint contains without its graph. The values are left out."""
    stored = await saver.aget_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    if stored is None:
        return StateSnapshot()
    pending = pending_interrupts(stored.pending_writes)
    return StateSnapshot(None, encode(pending), bool(pending) or is_unfinished(stored), stored.checkpoint["id"])
