"""Pending interrupts in the form for clients, and resume values in the form for LangGraph. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from ..json_types import JsonObject

INTERRUPT: Final = "__interrupt__"
"""Channel in which LangGraph keeps pending interrupts (langgraph.constants, private there)."""
NO_TASK: Final = "00000000-0000-0000-0000-000000000000"
"""Task id of pending writes without a task: they are part of the state."""
TASK_EVENTS: Final = frozenset(("__error__", "__error_source_node__", INTERRUPT, "__resume__"))
"""Channels of pending writes that record events of a task, not its output."""
_INTERRUPT_ID: Final = re.compile(r"[0-9a-f]{32}")
_REFUSED: Final = "_langgraph_invalid_resume"
"""Attribute that LangGraph sets on an error caused by an answer (langgraph.errors.is_invalid_resume, since 1.2)."""


def shown_interrupt(interrupt: Any) -> JsonObject:
    """Return a LangGraph interrupt in the form for clients, with its ``response_schema`` if it has one."""
    shown = {"id": interrupt.id, "value": interrupt.value}
    if (schema := getattr(interrupt, "response_schema", None)) is not None:
        shown["response_schema"] = schema
    return shown


def is_refused_answer(error: BaseException | None) -> bool:
    """Return whether a graph refused an answer that violates a ``response_schema``. Nothing of the answer is saved."""
    return getattr(error, _REFUSED, False) is True


def pending_interrupts(writes: Iterable[tuple[str, str, object]] | None) -> dict[str, list[JsonObject]]:
    """Return the interrupts that wait for an answer, by task, from a checkpoint's pending writes.

    The latest interrupt of a task waits until the task has written output (langgraph.pregel._task_status).
    """
    return {
        task_id: [shown_interrupt(interrupt) for interrupt in interrupts]
        for task_id, interrupts in asked_interrupts(writes).items()
    }


def asked_interrupts(writes: Iterable[tuple[str, str, object]] | None) -> dict[str, list[Any]]:
    """Return LangGraph's interrupts that wait for an answer, by task; see `pending_interrupts`."""
    asked: dict[str, list[Any]] = {}
    finished: set[str] = set()
    for task_id, channel, value in writes or ():
        if task_id == NO_TASK:
            continue
        if channel == INTERRUPT:
            asked.setdefault(task_id, []).extend(value if isinstance(value, Sequence) else [value])
        elif channel not in TASK_EVENTS:
            finished.add(task_id)
    return {task_id: interrupts for task_id, interrupts in asked.items() if task_id not in finished}


def is_by_interrupt(resume: object, pending: Collection[str]) -> bool:
    """Return whether ``resume`` maps interrupt ids to answers.

    It does if LangGraph treats it as such a mapping, or if it names a pending interrupt. An empty mapping is a plain
    answer.
    """
    return (
        isinstance(resume, Mapping)
        and bool(resume)
        and (
            all(isinstance(key, str) and _INTERRUPT_ID.fullmatch(key) for key in resume)
            or any(key in pending for key in resume)
        )
    )


def answers_of(resume: Any, pending: Collection[str]) -> JsonObject:
    """Return the answers by interrupt. An answer that names no interrupt belongs to the only pending one."""
    if is_by_interrupt(resume, pending):
        return {key: value for key, value in resume.items() if key in pending}
    return {next(iter(pending)): resume} if len(pending) == 1 else {}
