"""Whether an attempt that resumes finds its run already stopped at a static breakpoint.

A run that reached its breakpoint and lost its worker before it could settle must not run past it: for LangGraph, going
on without an input is what passes a breakpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..agents import Agent
from .planner import ExecutionPlan


async def stopped_at_breakpoint(agent: Agent, plan: ExecutionPlan) -> bool:
    """Only for a thread whose latest checkpoint is this run's own: the run came to where it is by its own steps."""
    if plan.interrupt_before is None and plan.interrupt_after is None:
        return False
    state = await agent.aget_state(plan.state_config)
    if not state.next or (state.metadata or {}).get("source") != "loop":
        return False
    if _named(plan.interrupt_before, state.next):
        return True
    if plan.interrupt_after is None or state.parent_config is None:
        return False
    before = await agent.aget_state(state.parent_config)
    return _named(plan.interrupt_after, before.next)


def _named(names: str | list[str] | None, nodes: Sequence[str]) -> bool:
    if names is None:
        return False
    listed: Collection[str] = nodes if names == "*" else names
    return any(node in listed for node in nodes if not node.startswith("__"))
