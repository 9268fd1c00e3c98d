"""Thread states in the form for readers: LangGraph's snapshots, encoded once. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from langgraph.types import StateSnapshot

from runstead.runtime.json_types import JsonObject
from runstead.runtime.page_budget import page_budget
from runstead.runtime.runs.error_redaction import ErrorRedactor
from runstead.runtime.runs.interrupts import shown_interrupt
from runstead.runtime.runs.redaction import redact
from runstead.runtime.runs.types import CheckpointRef, ThreadId, ThreadOutcome
from runstead.runtime.serialization import encode

_CHECKPOINT_KEYS: Final = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


@dataclass(frozen=True, slots=True)
class TaskState:
    """Task of the next step. ``path``, ``interrupts`` and ``result`` are encoded JSON.

    ``state`` is the subgraph's state if it was requested; otherwise ``checkpoint`` identifies it.
    """

    id: str
    name: str
    path: bytes
    error: str | None
    interrupts: bytes
    checkpoint: JsonObject | None
    state: ThreadState | None
    result: bytes | None


@dataclass(frozen=True, slots=True)
class ThreadState:
    """State of a thread at one checkpoint. ``values``, ``metadata`` and ``interrupts`` are encoded JSON.

    ``failure`` is the error that the graph's own code raised; the state was then read without that code. ``loss`` says
    that the thread's latest state, which is later than this one, is no longer stored.
    """

    values: bytes = b"{}"
    next: tuple[str, ...] = ()
    tasks: tuple[TaskState, ...] = ()
    metadata: bytes | None = None
    created_at: str | None = None
    checkpoint: JsonObject | None = None
    parent_checkpoint: JsonObject | None = None
    interrupts: bytes = b"[]"
    failure: str | None = None
    loss: str | None = None


def checkpoint_config(thread_id: ThreadId, at: CheckpointRef | None) -> JsonObject:
    """Return the config by which LangGraph finds a checkpoint of a thread; the latest if none is named."""
    configurable: JsonObject = {"thread_id": thread_id, "checkpoint_ns": at.checkpoint_ns if at else ""}
    if at is not None and at.checkpoint_id:
        configurable["checkpoint_id"] = at.checkpoint_id
    if at is not None and at.checkpoint_map:
        configurable["checkpoint_map"] = dict(at.checkpoint_map)
    return {"configurable": configurable}


def thread_state(snapshot: StateSnapshot, texts: ErrorRedactor) -> ThreadState:
    """Encode a snapshot."""
    return ThreadState(
        values=encode(snapshot.values),
        next=tuple(snapshot.next),
        tasks=tuple(_task_state(task, texts) for task in snapshot.tasks),
        metadata=_metadata(snapshot),
        created_at=snapshot.created_at,
        checkpoint=checkpoint_of(snapshot.config),
        parent_checkpoint=checkpoint_of(snapshot.parent_config),
        interrupts=_interrupts(snapshot.interrupts),
    )


def _task_state(task: Any, texts: ErrorRedactor) -> TaskState:
    below = task.state
    return TaskState(
        id=task.id,
        name=task.name,
        path=encode(task.path),
        error=None if task.error is None else texts.task_error(task.error),
        interrupts=_interrupts(task.interrupts),
        checkpoint=_place(below) if isinstance(below, dict) else None,
        state=thread_state(below, texts) if isinstance(below, StateSnapshot) else None,
        result=None if task.result is None else encode(task.result),
    )


async def fitting(states: AsyncIterator[ThreadState]) -> list[ThreadState]:
    """Return the first states that fit into the bound page budget, by the size of their values."""
    budget, used = page_budget(), 0
    page: list[ThreadState] = []
    async for state in states:
        used += len(state.values)
        if budget is not None and page and used > budget.limit:
            budget.is_cut = True
            break
        page.append(state)
    return page


def filled(stored: bytes, recorded: bytes) -> bytes:
    """Return the values of a checkpoint together with those that only the thread's record contains: channels computed
    from writes."""
    values, known = orjson.loads(stored), orjson.loads(recorded)
    if not (isinstance(values, dict) and isinstance(known, dict)):
        return stored
    return orjson.dumps({**known, **values})


def _interrupts(interrupts: Sequence[object]) -> bytes:
    return encode([shown_interrupt(interrupt) for interrupt in interrupts])


def _metadata(snapshot: StateSnapshot) -> bytes | None:
    if snapshot.metadata is None:
        return None
    # Savers leave out keys that the checkpoint's configurable contains, but clients expect them here.
    return encode({**redact(snapshot.metadata), "thread_id": _place(snapshot.config).get("thread_id")})


def checkpoint_of(config: object) -> JsonObject | None:
    """Return the checkpoint that a config names; None if it names none."""
    place = _place(config)
    return place if place and place.get("checkpoint_id") else None


def _place(config: Any) -> JsonObject:
    configurable = (config or {}).get("configurable") or {}
    return {key: configurable[key] for key in _CHECKPOINT_KEYS if key in configurable}


def thread_after(state: ThreadState) -> ThreadOutcome:
    """Return the thread's record for this state, its latest."""
    pending = b",".join(
        encode(task.id) + b":" + task.interrupts for task in state.tasks if task.interrupts != encode([])
    )
    return ThreadOutcome("interrupted" if state.next else "idle", state.values, b"{" + pending + b"}")
