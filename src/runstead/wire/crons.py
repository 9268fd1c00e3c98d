"""Crons on the wire: requests that create and change them, their form in responses, and their runs."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from runstead.resources.assistants import AssistantRecord
from runstead.resources.crons import CronFilter, CronRecord, CronSortField
from runstead.resources.threads import ThreadRecord
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import (
    AssistantId,
    CronId,
    Durability,
    MultitaskStrategy,
    OnCompletion,
    RunSpec,
    StreamMode,
    ThreadId,
)

from .body import WireModel
from .errors import BadRequest, Unprocessable
from .identifiers import ThreadIdField
from .pages import Limit, Offset
from .runs import RUN_CREATE, RunConfig, RunCreate, to_run_spec

CRON_FIELDS: Final = (
    "cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", "schedule", "timezone", "created_at",
    "updated_at", "user_id", "payload", "next_run_date", "metadata", "enabled", "last_run_id", "last_error",
)  # fmt: skip
"""Fields that ``select`` may name."""

_OF_THE_RUN: Final = (
    "input", "config", "context", "webhook", "interrupt_before", "interrupt_after", "multitask_strategy", "stream_mode",
    "stream_subgraphs", "stream_resumable", "durability", "checkpoint_during",
)  # fmt: skip
_NO_SECRETS: Final = (
    "secrets: a cron has none, since they would have to be stored; let the graph read them from a variable or a vault"
)


def _as_moment(value: Any) -> object:
    """Return the time of an ISO 8601 text. Without an offset, it is in UTC."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise PydanticCustomError("moment", "must be a time in ISO 8601, such as 2030-01-31T12:00:00+00:00") from error


Moment: TypeAlias = Annotated[datetime, BeforeValidator(_as_moment)]


class CronPatch(WireModel):
    """Fields of a cron that can be changed. ``end_time`` null removes the end."""

    schedule: str | None = None
    timezone: str | None = None
    end_time: Moment | None = None
    enabled: bool | None = None
    on_run_completed: OnCompletion | None = None
    input: Any = None
    metadata: JsonObject | None = None
    config: RunConfig | None = None
    context: JsonObject | None = None
    webhook: str | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    multitask_strategy: MultitaskStrategy | None = None
    stream_mode: StreamMode | list[StreamMode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    durability: Durability | None = None
    checkpoint_during: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("secrets"):
            raise PydanticCustomError("secrets", _NO_SECRETS)
        return data

    def given(self) -> JsonObject:
        """Return the given fields as JSON. Null counts as not given, except for ``end_time``."""
        sent = self.model_dump(mode="json", exclude_unset=True)
        return {name: value for name, value in sent.items() if value is not None or name == "end_time"}


class CronCreate(CronPatch):
    assistant_id: str
    schedule: str


class CronCount(WireModel):
    assistant_id: str | None = None
    thread_id: ThreadIdField | None = None
    metadata: JsonObject | None = None

    def to_filter(self, assistant_id: AssistantId | None) -> CronFilter:
        """Return the filter. ``assistant_id`` is the id for the given assistant or graph name."""
        return CronFilter(assistant_id, self.thread_id, None, self.metadata or {})


class CronSearch(CronCount):
    enabled: bool | None = None
    limit: Limit | None = None
    offset: Offset | None = None
    sort_by: CronSortField | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = Field(default=None)

    def to_filter(self, assistant_id: AssistantId | None) -> CronFilter:
        return CronFilter(assistant_id, self.thread_id, self.enabled, self.metadata or {})


CRON_CREATE: Final[TypeAdapter[CronCreate]] = TypeAdapter(CronCreate)
CRON_PATCH: Final[TypeAdapter[CronPatch]] = TypeAdapter(CronPatch)
CRON_COUNT: Final[TypeAdapter[CronCount]] = TypeAdapter(CronCount)
CRON_SEARCH: Final[TypeAdapter[CronSearch]] = TypeAdapter(CronSearch)


def to_cron(
    body: CronCreate,
    *,
    cron_id: CronId,
    assistant_id: AssistantId,
    thread_id: ThreadId | None,
    actor: ActorContext,
    now: datetime,
) -> CronRecord:
    """Return a new cron. Raises InvalidSchedule, Unprocessable."""
    cron = CronRecord(
        cron_id=cron_id,
        assistant_id=assistant_id,
        thread_id=thread_id,
        schedule=body.schedule,
        timezone=body.timezone,
        end_time=body.end_time,
        payload=_payload({**body.given(), "assistant_id": assistant_id}, cron_id),
        metadata=body.metadata or {},
        on_run_completed=_on_run_completed(body, thread_id) or (None if thread_id else "delete"),
        enabled=body.enabled is not False,
        actor=actor,
        created_at=now,
        updated_at=now,
    )
    return cron.scheduled(now)


def changed(cron: CronRecord, body: CronPatch, now: datetime) -> CronRecord:
    """Return the cron after the change in ``body``. The fields of its payload are replaced one by one, its metadata key
    by key.

    Raises BadRequest for an empty change, InvalidSchedule, Unprocessable.
    """
    given = body.given()
    if not given:
        raise BadRequest("No fields to update")
    if body.metadata is not None:
        given["metadata"] = {**(cron.payload.get("metadata") or {}), **body.metadata}
    payload = {name: value for name, value in {**cron.payload, **given}.items() if value is not None}
    new = dataclasses.replace(
        cron,
        schedule=cron.schedule if body.schedule is None else body.schedule,
        timezone=cron.timezone if body.timezone is None else body.timezone,
        end_time=body.end_time if "end_time" in given else cron.end_time,
        enabled=cron.enabled if body.enabled is None else body.enabled,
        on_run_completed=_on_run_completed(body, cron.thread_id) or cron.on_run_completed,
        metadata={**cron.metadata, **(body.metadata or {})},
        payload=_payload(payload, cron.cron_id),
        updated_at=now,
    )
    # Due times that passed while it was disabled are not caught up. A due time that is merely late stays due.
    is_woken = new.enabled and not cron.enabled
    is_moved = (new.schedule, new.timezone, new.end_time) != (cron.schedule, cron.timezone, cron.end_time)
    return new.scheduled(now) if is_woken or is_moved else new


def from_cron_record(record: CronRecord) -> JsonObject:
    """Return a cron in the form for clients."""
    return {
        "cron_id": record.cron_id,
        "assistant_id": record.assistant_id,
        "thread_id": record.thread_id,
        "user_id": record.actor.user_id,
        "end_time": record.end_time,
        "schedule": record.schedule,
        "timezone": record.timezone,
        "payload": record.payload,
        "next_run_date": record.next_run_date,
        "metadata": record.metadata,
        "on_run_completed": record.on_run_completed,
        "enabled": record.enabled,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "last_run_id": record.last_run_id,
        "last_error": record.last_error,
    }


def run_of(cron: CronRecord) -> RunCreate:
    """Return the request from which each of the cron's runs is created."""
    fields = {name: cron.payload[name] for name in _OF_THE_RUN if name in cron.payload}
    if config := fields.get("config"):
        configurable = {key: value for key, value in (config.get("configurable") or {}).items() if key != "cron_id"}
        fields["config"] = {**config, "configurable": configurable}
    metadata = {**cron.metadata, **(cron.payload.get("metadata") or {})}
    completion = {"on_completion": cron.on_run_completed} if cron.thread_id is None else {}
    return RUN_CREATE.validate_python({**fields, **completion, "assistant_id": cron.assistant_id, "metadata": metadata})


def to_cron_spec(
    cron: CronRecord, run: RunCreate, *, assistant: AssistantRecord, thread: ThreadRecord | None
) -> RunSpec:
    """Return the specification of a run of the cron: ``run`` (see `run_of`), with the cron's id in its metadata.

    Raises as `to_run_spec`.
    """
    spec = to_run_spec(run, assistant=assistant, thread_id=cron.thread_id, thread=thread)
    metadata = {**spec.metadata, "cron_id": cron.cron_id}
    configurable = {**spec.config.get("configurable", {}), "cron_id": cron.cron_id}
    config = {**spec.config, "metadata": metadata, "configurable": configurable}
    return dataclasses.replace(spec, config=config, metadata=metadata)


def _payload(given: JsonObject, cron_id: CronId) -> JsonObject:
    """Return the payload with the cron's id in configurable, where each run finds it."""
    config = given.get("config") or {}
    configurable = {**(config.get("configurable") or {}), "cron_id": cron_id}
    config = {name: value for name, value in config.items() if value is not None}
    return {**given, "config": {**config, "configurable": configurable}}


def _on_run_completed(body: CronPatch, thread_id: ThreadId | None) -> OnCompletion | None:
    if thread_id is None:
        return body.on_run_completed
    if body.on_run_completed == "delete":
        raise Unprocessable(
            "on_run_completed: 'delete' requires a cron without a thread; this cron runs on an existing thread"
        )
    return None
