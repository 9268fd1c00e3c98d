"""Threads on the wire: what creates, finds and changes them, and how a record is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import orjson
from pydantic import BeforeValidator, Field, TypeAdapter

from runstead.resources.states import Update
from runstead.resources.threads import (
    LONGEST_TTL,
    SortOrder,
    ThreadFilter,
    ThreadRecord,
    ThreadSortField,
    ThreadTtl,
    TtlStrategy,
)
from runstead.runtime.runs.store import CheckpointBytes
from runstead.runtime.runs.types import ThreadStatus

from .body import WireModel
from .errors import BadRequest, Unprocessable
from .identifiers import ThreadIdField
from .pages import Limit, Offset
from .runs import CommandBody

THREAD_FIELDS: Final = (
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config", "context",
    "values", "error", "interrupts",
)  # fmt: skip
"""What ``select`` may name."""


class UpdateBody(WireModel):
    """One update of a superstep: as if node ``as_node`` had returned ``values``, or ``command``."""

    values: dict[str, Any] | list[Any] | None = None
    command: CommandBody | None = None
    as_node: str | None = None

    def to_update(self) -> Update:
        """Raises Unprocessable."""
        if self.command is None:
            return Update(self.values, self.as_node)
        if self.values:
            raise Unprocessable("supersteps: give an update values or a command; a command can hold an update")
        if self.command.has_resume and self.command.resume is not None:
            raise Unprocessable("supersteps: a command that resumes needs a run; update and goto can be told here")
        command = self.command.to_command()
        return Update(None, self.as_node, dataclasses.replace(command, resume=None, has_resume=False))


class SuperstepBody(WireModel):
    updates: list[UpdateBody] = Field(min_length=1)


class TtlBody(WireModel):
    """``ttl`` in minutes after the thread was last used."""

    ttl: float = Field(gt=0, le=LONGEST_TTL)
    strategy: TtlStrategy | None = None


def _as_object(ttl: Any) -> Any:
    return {"ttl": ttl} if isinstance(ttl, int | float) and not isinstance(ttl, bool) else ttl


Ttl: TypeAlias = Annotated[TtlBody, BeforeValidator(_as_object, json_schema_input_type=float | TtlBody)]


class ThreadCreate(WireModel):
    thread_id: ThreadIdField | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    supersteps: list[SuperstepBody] | None = None
    ttl: Ttl | None = None


class ThreadPatch(WireModel):
    metadata: dict[str, Any] | None = None
    ttl: Ttl | None = None


class ThreadPrune(WireModel):
    """Threads of which all, or all but their latest state, is to be forgotten."""

    thread_ids: list[ThreadIdField] = Field(max_length=1_000)
    strategy: TtlStrategy | None = None


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
THREAD_PRUNE: Final[TypeAdapter[ThreadPrune]] = TypeAdapter(ThreadPrune)
THREAD_COUNT: Final[TypeAdapter[ThreadCount]] = TypeAdapter(ThreadCount)
THREAD_SEARCH: Final[TypeAdapter[ThreadSearch]] = TypeAdapter(ThreadSearch)


def supersteps_of(body: ThreadCreate) -> list[list[Update]]:
    """The states that a new thread is to have gone through. Raises Unprocessable and BadRequest."""
    steps = [[update.to_update() for update in step.updates] for step in body.supersteps or ()]
    if steps and not isinstance((body.metadata or {}).get("graph_id"), str):
        raise BadRequest("supersteps: name the graph that applies them in metadata.graph_id")
    return steps


def ttl_of(ttl: TtlBody | None) -> ThreadTtl | None:
    """How long to keep a thread; None for as long as all others."""
    return None if ttl is None else ThreadTtl(ttl.ttl, ttl.strategy or "delete")


def check_include(names: Sequence[str] | None) -> bool:
    """Whether the ttl was asked for. Raises Unprocessable for what a thread does not have."""
    for name in names or ():
        if name != "ttl":
            raise Unprocessable(f"include: {name[:100]!r} is not one of ttl")
    return bool(names)


def from_ttl(ttl: ThreadTtl | None, record: ThreadRecord) -> dict[str, Any] | None:
    """A thread's ttl as clients read it; None for one that is kept for ever."""
    if ttl is None:
        return None
    return {"strategy": ttl.strategy, "ttl_minutes": ttl.minutes, "expires_at": ttl.over_at(record.updated_at)}


def from_checkpoint_bytes(thread_id: str, stored: CheckpointBytes) -> dict[str, Any]:
    """What a thread takes, as the reference server says it. Checkpoints hold the values: their own part is the rest."""
    values = sum(channel.size for channel in stored.channels.values())
    return {
        "thread_id": thread_id,
        "total_bytes": max(stored.stored, values) + stored.written,
        "checkpoints": {"count": stored.count, "bytes": max(stored.stored - values, 0)},
        "channel_values": {
            "count": sum(channel.versions for channel in stored.channels.values()),
            "bytes": values,
            "by_channel": {
                name: {"versions": channel.versions, "bytes": channel.size}
                for name, channel in sorted(stored.channels.items())
            },
        },
        "pending_writes": {"count": stored.writes, "bytes": stored.written},
    }


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
