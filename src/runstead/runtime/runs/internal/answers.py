"""Answers of a resume, looked at right before the graph gets them.

Not before the run begins: until then another run of the thread may take the interrupt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from ..agents import Agent
from ..exceptions import UnknownInterruptError
from ..interrupts import is_by_interrupt
from .planner import ExecutionPlan
from .snapshot import waiting_interrupts

_AMBIGUOUS: Final = (
    "When there are multiple pending interrupts, you must specify the interrupt id when resuming: "
    "resume={interrupt_id: answer}."
)


async def answering(agent: Agent, plan: ExecutionPlan) -> ExecutionPlan:
    """Return the plan with answers as LangGraph understands them. On an agent loop.

    A strict resume is checked, since LangGraph ignores an answer that no interrupt waits for. LangGraph takes null for
    no answer, and an empty mapping for answers to nothing: here they name the one pending interrupt.

    Raises UnknownInterruptError, and RuntimeError for an empty answer to several interrupts.
    """
    command = plan.command
    if command is None or not command.has_resume:
        return plan
    is_empty = command.resume is None or command.resume == {}
    if not (plan.strict_resume or is_empty):
        return plan
    pending = [interrupt.id for interrupt in waiting_interrupts(await agent.aget_state(plan.config))]
    if plan.strict_resume and (unknown := unknown_answers(command.resume, pending)) is not None:
        raise UnknownInterruptError(unknown, pending)
    if not is_empty:
        return plan
    if len(pending) > 1:
        raise RuntimeError(_AMBIGUOUS)
    return replace(plan, input=replace(plan.input, resume=dict.fromkeys(pending, command.resume)))


def unknown_answers(resume: Any, pending: Sequence[str]) -> list[str] | None:
    """Return the ids that ``resume`` answers and that are not ``pending``; None when it answers only what is.

    An answer that names no interrupt answers whatever waits, and needs something to.
    """
    if not is_by_interrupt(resume, pending):
        return None if pending else []
    return [str(key) for key in resume if key not in pending] or None
