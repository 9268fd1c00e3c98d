"""Checks around interrupts: does a resume answer them, and did a run stop at a breakpoint."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from runstead.runtime.runs.agents import Agent
from runstead.runtime.runs.exceptions import UnknownInterruptError
from runstead.runtime.runs.interrupts import is_by_interrupt

from .planner import ExecutionPlan
from .snapshot import waiting_interrupts

_AMBIGUOUS: Final = (
    "When there are multiple pending interrupts, you must specify the interrupt id when resuming: "
    "resume={interrupt_id: answer}."
)


async def validate_resume(agent: Agent, plan: ExecutionPlan) -> ExecutionPlan:
    """Return the plan with its answers in the form that LangGraph expects. Call on an agent loop.

    A strict resume is checked, because LangGraph ignores an answer for which no interrupt is pending. LangGraph treats
    null as no answer, and an empty mapping as answers to no interrupt; here both answer the one pending interrupt.

    Raises UnknownInterruptError, and RuntimeError for an empty answer when several interrupts are pending.
    """
    command = plan.command
    if command is None or not command.has_resume:
        return plan
    is_empty = command.resume is None or command.resume == {}
    if not (plan.strict_resume or is_empty):
        return plan
    pending = [interrupt.id for interrupt in waiting_interrupts(await agent.aget_state(plan.config))]
    if plan.strict_resume and (unknown := unknown_interrupts(command.resume, pending)) is not None:
        raise UnknownInterruptError(unknown, pending)
    if not is_empty:
        return plan
    if len(pending) > 1:
        raise RuntimeError(_AMBIGUOUS)
    return replace(plan, input=replace(plan.input, resume=dict.fromkeys(pending, command.resume)))


def unknown_interrupts(resume: Any, pending: Sequence[str]) -> list[str] | None:
    """Return the ids that ``resume`` answers and that are not ``pending``; None if all answered ids are pending.

    An answer that names no interrupt answers any pending interrupt. Without a pending interrupt, return an empty list.
    """
    if not is_by_interrupt(resume, pending):
        return None if pending else []
    return [str(key) for key in resume if key not in pending] or None


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
