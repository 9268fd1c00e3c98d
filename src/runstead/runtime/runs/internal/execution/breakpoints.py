"""Detection of a resumed attempt whose run has already stopped at a static breakpoint.

A run that reached its breakpoint and lost its worker before it was settled must not run past it: LangGraph passes a
breakpoint when it continues without an input.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from runstead.runtime.runs.agents import Agent

from .planner import ExecutionPlan


async def stopped_at_breakpoint(agent: Agent, plan: ExecutionPlan) -> bool:
    """Return whether the run has already stopped at a breakpoint.

    True only if the thread's latest checkpoint was written by this run: then the run's own steps led to the breakpoint.
    """
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
