"""Whether a resume answers what its thread asks: looked at right before the graph gets it.

LangGraph passes an answer over that nobody waits for. Who asks for it to be strict would rather have the run fail and
the thread stay as it was. Not before the run begins: until then another run of the thread may take the interrupt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.types import Command

from ..agents import Agent
from ..exceptions import UnknownInterruptError
from ..interrupts import is_by_interrupt
from .planner import ExecutionPlan


async def check_answers(agent: Agent, plan: ExecutionPlan) -> None:
    """On an agent loop. Raises UnknownInterruptError."""
    if not isinstance(plan.input, Command) or plan.input.resume is None:
        return
    state = await agent.aget_state(plan.config)
    pending = [interrupt.id for task in state.tasks if task.result is None for interrupt in task.interrupts]
    if (unknown := unknown_answers(plan.input.resume, pending)) is not None:
        raise UnknownInterruptError(unknown, pending)


def unknown_answers(resume: Any, pending: Sequence[str]) -> list[str] | None:
    """Which ids ``resume`` answers that are not ``pending``; None when it answers only what is.

    A mapping is one of answers by interrupt when LangGraph takes it for one, or when it names one that waits; anything
    else answers whatever waits, and needs something to.
    """
    if not is_by_interrupt(resume, pending):
        return None if pending else []
    return [str(key) for key in resume if key not in pending] or None
