"""Whether a resume answers what its thread asks: looked at right before the graph gets it.

LangGraph passes an answer over that nobody waits for. Who asks for it to be strict would rather have the run fail and
the thread stay as it was. Not before the run begins: until then another run of the thread may take the interrupt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langgraph.types import Command

from ..agents import Agent
from ..exceptions import UnknownInterruptError
from .planner import ExecutionPlan

_INTERRUPT_ID: Final = re.compile(r"[0-9a-f]{32}")


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
    is_by_id = (
        isinstance(resume, Mapping)
        and bool(resume)
        and (
            all(isinstance(key, str) and _INTERRUPT_ID.fullmatch(key) for key in resume)
            or any(key in pending for key in resume)
        )
    )
    if not is_by_id:
        return None if pending else []
    return [str(key) for key in resume if key not in pending] or None
