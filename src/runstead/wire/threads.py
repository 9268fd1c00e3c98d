"""Threads on the wire: requests that create, find and change them, and their form in responses."""

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
from runstead.runtime.json_types import JsonObject
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
"""Fields that ``select`` may name."""


class UpdateBody(WireModel):
    """One update of a superstep, as if node ``as_node`` had returned ``values`` or ``command``."""

    values: JsonObject | list[Any] | None = None
    command: CommandBody | None = None
    as_node: str | None = None

    def to_update(self) -> Update:
        """Convert the update. Raises Unprocessable."""
        if self.command is None:
            return Update(self.values, self.as_node)
        if self.values:
            raise Unprocessable("supersteps: give an update values or a command; a command can contain an update")
        if self.command.has_resume and self.command.resume is not None:
            raise Unprocessable("supersteps: a command that resumes needs a run; here, only update and goto work")
        command = self.command.to_command()
        return Update(None, self.as_node, dataclasses.replace(command, resume=None, has_resume=False))


class SuperstepBody(WireModel):
    updates: list[UpdateBody] = Field(min_length=1)


class TtlBody(WireModel):
    """Time to live: ``ttl`` in minutes after the last use of the thread."""

    ttl: float = Field(gt=0, le=LONGEST_TTL)
    strategy: TtlStrategy | None = None


def _as_object(ttl: object) -> object:
    return {"ttl": ttl} if isinstance(ttl, int | float) and not isinstance(ttl, bool) else ttl


Ttl: TypeAlias = Annotated[TtlBody, BeforeValidator(_as_object, json_schema_input_type=float | TtlBody)]


class ThreadCreate(WireModel):
    thread_id: ThreadIdField | None = None
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    supersteps: list[SuperstepBody] | None = None
    ttl: Ttl | None = None


class ThreadPatch(WireModel):
    metadata: JsonObject | None = None
    ttl: Ttl | None = None


class ThreadPrune(WireModel):
    """Threads to delete, completely or except for their latest state."""

    thread_ids: list[ThreadIdField] = Field(max_length=1_000)
    strategy: TtlStrategy | None = None


class ThreadCount(WireModel):
    metadata: JsonObject | None = None
    values: JsonObject | None = None
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
    """Return the supersteps to apply to a new thread. Raises Unprocessable and BadRequest."""
    steps = [[update.to_update() for update in step.updates] for step in body.supersteps or ()]
    if steps and not isinstance((body.metadata or {}).get("graph_id"), str):
        raise BadRequest("supersteps: name the graph that applies them in metadata.graph_id")
    return steps


def ttl_of(ttl: TtlBody | None) -> ThreadTtl | None:
    """Return the time to live of a thread; None for the server's default."""
    return None if ttl is None else ThreadTtl(ttl.ttl, ttl.strategy or "delete")


def check_include(names: Sequence[str] | None) -> bool:
    """Return whether the ttl was requested. Raises Unprocessable for an unknown name."""
    for name in names or ():
        if name != "ttl":
            raise Unprocessable(f"include: {name[:100]!r} is not one of ttl")
    return bool(names)


def from_ttl(ttl: ThreadTtl | None, record: ThreadRecord) -> JsonObject | None:
    """Return a thread's ttl in the form for clients; None for a thread without one."""
    if ttl is None:
        return None
    return {"strategy": ttl.strategy, "ttl_minutes": ttl.minutes, "expires_at": ttl.over_at(record.updated_at)}


def from_checkpoint_bytes(thread_id: str, stored: CheckpointBytes) -> JsonObject:
    """Return a thread's size, in the form of the reference server. Checkpoints include the values, which are subtracted
    from their own size."""
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


def from_thread_record(record: ThreadRecord) -> JsonObject:
    """Return a thread in the form for clients, for `orjson.dumps`: values and interrupts are inserted as encoded."""
    return {
        "thread_id": record.thread_id,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "state_updated_at": record.state_updated_at or record.created_at,
        "metadata": record.metadata,
        "status": record.status,
        "config": record.config,
        # Only runs have a context, but the clients' types include it here too.
        "context": {},
        "values": None if record.values is None else orjson.Fragment(record.values),
        "error": record.error,
        "interrupts": orjson.Fragment(record.interrupts),
    }
