"""Threads on the wire: what creates, finds and changes them, and how a record is shown."""

from __future__ import annotations

from typing import Any, Final, Literal

import orjson
from pydantic import Field, TypeAdapter

from runstead.resources.states import Update
from runstead.resources.threads import SortOrder, ThreadFilter, ThreadRecord, ThreadSortField
from runstead.runtime.runs.types import ThreadStatus

from .body import WireModel
from .errors import BadRequest, Unprocessable
from .identifiers import ThreadIdField
from .pages import Limit, Offset

THREAD_FIELDS: Final = (
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config", "context",
    "values", "error", "interrupts",
)  # fmt: skip
"""What ``select`` may name."""


class UpdateBody(WireModel):
    """One update of a superstep: as if node ``as_node`` had returned ``values``."""

    values: dict[str, Any] | list[Any] | None = None
    command: Any = None
    as_node: str | None = None


class SuperstepBody(WireModel):
    updates: list[UpdateBody] = Field(min_length=1)


class ThreadCreate(WireModel):
    thread_id: ThreadIdField | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    supersteps: list[SuperstepBody] | None = None
    ttl: Any = None


class ThreadPatch(WireModel):
    metadata: dict[str, Any] | None = None
    ttl: Any = None


class ThreadCount(WireModel):
    metadata: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    status: ThreadStatus | None = None

    def to_filter(self) -> ThreadFilter:
        return ThreadFilter(status=self.status, metadata=self.metadata or {}, values=self.values or {})


class ThreadSearch(ThreadCount):
    ids: list[ThreadIdField] | None = Field(None, max_length=1_000)
    limit: Limit | None = None
    offset: Offset | None = None
    sort_by: ThreadSortField | None = None
    sort_order: SortOrder | None = None
    select: list[str] | None = None
    extract: dict[str, str] | None = None

    def to_filter(self) -> ThreadFilter:
        return ThreadFilter(self.ids, self.status, self.metadata or {}, self.values or {})


THREAD_CREATE: Final[TypeAdapter[ThreadCreate]] = TypeAdapter(ThreadCreate)
THREAD_PATCH: Final[TypeAdapter[ThreadPatch]] = TypeAdapter(ThreadPatch)
THREAD_COUNT: Final[TypeAdapter[ThreadCount]] = TypeAdapter(ThreadCount)
THREAD_SEARCH: Final[TypeAdapter[ThreadSearch]] = TypeAdapter(ThreadSearch)


def supersteps_of(body: ThreadCreate) -> list[list[Update]]:
    """The states that a new thread is to have gone through. Raises Unprocessable and BadRequest."""
    updates = [update for step in body.supersteps or () for update in step.updates]
    if any(update.command is not None for update in updates):
        raise Unprocessable("supersteps: this server takes values, not commands, in an update")
    if updates and not isinstance((body.metadata or {}).get("graph_id"), str):
        raise BadRequest("supersteps: name the graph that applies them in metadata.graph_id")
    return [[Update(one.values, one.as_node) for one in step.updates] for step in body.supersteps or ()]


def refuse_ttl(ttl: Any) -> None:
    """Raises Unprocessable: threads live until they are deleted."""
    if ttl is not None:
        raise Unprocessable("ttl: this server does not expire threads yet; delete them when they are no longer needed")


def from_thread_record(record: ThreadRecord) -> dict[str, Any]:
    """A thread as clients read it, for `orjson.dumps`: values and interrupts are put in as they were encoded."""
    return {
        "thread_id": record.thread_id,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "state_updated_at": record.state_updated_at or record.created_at,
        "metadata": record.metadata,
        "status": record.status,
        "config": record.config,
        # Context is a run's; the clients' types have it here too.
        "context": {},
        "values": None if record.values is None else orjson.Fragment(record.values),
        "error": record.error,
        "interrupts": orjson.Fragment(record.interrupts),
    }
