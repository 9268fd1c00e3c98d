"""Answers to interrupts of budgets: the server takes them out of a resume, and raises the budgets.

The graph never sees such an answer: the call that was refused is simply made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.budgets import (
    BudgetAnswerRefused,
    BudgetExceeded,
    BudgetLevel,
    is_budget_interrupt,
    may_raise,
    raise_of,
)
from runstead.runtime.runs.interrupts import answers_of, asked_interrupts, is_by_interrupt
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import Lease

from .planner import ExecutionPlan


async def take_budget_answers(runtime: RunsRuntime, lease: Lease, plan: ExecutionPlan) -> ExecutionPlan:
    """Return the plan without answers to interrupts of budgets, after they have taken effect.

    Raises BudgetAnswerRefused, and BudgetExceeded for the answer that the run stops.
    """
    command = plan.command
    if runtime.budgets is None or command is None or not command.has_resume:
        return plan
    pending = await _pending(runtime, plan)
    asked = {one.id: one.value["budget"] for one in pending if is_budget_interrupt(one.value)}
    ids = [one.id for one in pending]
    answers = answers_of(command.resume, ids)
    answered = {key: value for key, value in answers.items() if key in asked}
    if not answered:
        # By its id: LangGraph keeps an answer without one for the task's next interrupts, when the node was paused by a
        # budget after its first one.
        by_id = bool(answers) and not is_by_interrupt(command.resume, ids) and command.resume not in (None, {})
        return _answering(plan, answers) if by_id else plan
    levels = await runtime.budgets.levels(lease)
    for key, answer in answered.items():
        await _apply(runtime, lease, answer, _level(levels, asked[key]))
    rest = {key: value for key, value in answers.items() if key not in asked}
    return _without(plan, rest)


async def _pending(runtime: RunsRuntime, plan: ExecutionPlan) -> Sequence[Any]:
    found = await runtime.checkpoints.saver.aget_tuple(plan.config)
    asked = asked_interrupts(None if found is None else found.pending_writes)
    return [interrupt for interrupts in asked.values() for interrupt in interrupts]


def _level(levels: Sequence[BudgetLevel], asked: JsonMapping) -> BudgetLevel | None:
    """Return the level that an interrupt asks about; None if there is no such budget any more."""
    wanted = (tuple(asked["per"]), asked["unit"])
    return next((level for level in levels if (level.budget.per, level.budget.unit) == wanted), None)


async def _apply(runtime: RunsRuntime, lease: Lease, answer: object, level: BudgetLevel | None) -> None:
    amount = raise_of(answer)
    if level is None:
        return
    if amount == "stop":
        raise BudgetExceeded(level, runtime.clock.now())
    if not may_raise(lease.run.actor, level.budget, runtime.budget_scopes):
        raise BudgetAnswerRefused(
            f"you may not raise the budget of {level}; an admin can, or it is reset by itself if it is per day"
        )
    if "run" in level.budget.per:
        # This is a new run, with a budget of its own.
        return
    assert runtime.budgets is not None, "there is an interrupt of a budget"
    await runtime.budgets.add(lease, level, level.budget.amount if amount == "own" else amount)


def _without(plan: ExecutionPlan, rest: JsonMapping) -> ExecutionPlan:
    """Return a plan that answers only ``rest``, or continues if that is nothing."""
    command = plan.command
    assert command is not None, "a resume is a command"
    if rest:
        return _answering(plan, rest)
    if command.update is not None or command.goto:
        left = replace(command, resume=None, has_resume=False)
        return replace(plan, command=left, input=replace(plan.input, resume=None))
    return replace(plan, command=None, input=None, strict_resume=False)


def _answering(plan: ExecutionPlan, answers: JsonMapping) -> ExecutionPlan:
    """Return a plan that gives these answers, by interrupt."""
    assert plan.command is not None, "a resume is a command"
    command = replace(plan.command, resume=dict(answers))
    return replace(plan, command=command, input=replace(plan.input, resume=dict(answers)))
