"""Assistants on the wire: requests that create, change and search them, and their form in responses."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from runstead.resources.assistants import (
    UNTITLED,
    AssistantChange,
    AssistantDraft,
    AssistantFilter,
    AssistantRecord,
    AssistantSortField,
    AssistantVersion,
    mirrored,
)
from runstead.runtime.json_types import JsonMapping, JsonObject

from .body import WireModel
from .configs import BOTH_GIVEN, without_own
from .errors import BadRequest, Unprocessable
from .identifiers import AssistantIdField
from .pages import Limit, Offset
from .runs import RunConfig

ASSISTANT_FIELDS: Final = (
    "assistant_id", "graph_id", "config", "context", "metadata", "name", "created_at", "updated_at", "version",
    "description",
)  # fmt: skip
"""Fields that ``select`` may name."""


_MAX_VERSION: Final = 2**31 - 1
_Text = Annotated[str, Field(max_length=10_000)]


class AssistantConfig(RunConfig):
    """Config with which runs begin. Fields without any effect on runs are refused; null counts as not given."""

    model_config = ConfigDict(extra="allow")

    def given(self) -> JsonObject:
        """Return the given fields. Raises Unprocessable."""
        if unknown := sorted(key for key, value in (self.model_extra or {}).items() if value is not None):
            known = ", ".join(RunConfig.model_fields)
            raise Unprocessable(f"config: {unknown[0][:100]!r} has no effect on runs; known fields are {known}")
        return self.model_dump(exclude_none=True)


class _Settings(WireModel):
    """Fields common to creation and change. Null counts as not given."""

    name: _Text | None = None
    config: AssistantConfig | None = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    description: _Text | None = None

    def given(self) -> tuple[JsonObject | None, JsonObject | None]:
        """Return config and context without keys that only the server sets. Raises Unprocessable, and BadRequest if the
        two contradict each other."""
        config = None if self.config is None else self.config.given()
        context = None if self.context is None else without_own(self.context, frozenset())
        if config and "configurable" in config:
            config["configurable"] = without_own(config["configurable"], frozenset())
            # A client that sends back what it has read gives both, with equal values, which is accepted.
            if config["configurable"] and context and config["configurable"] != context:
                raise BadRequest(BOTH_GIVEN)
        return config, context


class AssistantCreate(_Settings):
    graph_id: str
    assistant_id: AssistantIdField | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None

    def to_draft(self) -> AssistantDraft:
        """Convert the request. Raises BadRequest, Unprocessable."""
        config, context = self.given()
        context = context or (config or {}).get("configurable") or {}
        return AssistantDraft(
            graph_id=self.graph_id,
            name=self.name or UNTITLED,
            config=mirrored(config or {}, context),
            context=context,
            metadata=self.metadata or {},
            description=self.description,
        )


class AssistantPatch(_Settings):
    graph_id: str | None = None

    def to_change(self) -> AssistantChange:
        """Convert the request. Raises BadRequest, Unprocessable."""
        config, context = self.given()
        return AssistantChange(
            graph_id=self.graph_id,
            name=self.name,
            config=config,
            # An empty context next to a configurable does not contradict it.
            context=None if not context and (config or {}).get("configurable") else context,
            metadata=self.metadata,
            description=self.description,
            has_description="description" in self.model_fields_set,
        )


class AssistantVersions(WireModel):
    metadata: JsonObject | None = None
    limit: Limit | None = None
    offset: Offset | None = None


class AssistantLatest(WireModel):
    version: int = Field(ge=1, le=_MAX_VERSION)


class AssistantCount(WireModel):
    graph_id: str | None = None
    name: str | None = None
    metadata: JsonObject | None = None

    def to_filter(self) -> AssistantFilter:
        return AssistantFilter(self.graph_id, self.name, self.metadata or {})


class AssistantSearch(AssistantCount):
    limit: Limit | None = None
    offset: Offset | None = None
    sort_by: AssistantSortField | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


ASSISTANT_CREATE: Final[TypeAdapter[AssistantCreate]] = TypeAdapter(AssistantCreate)
ASSISTANT_PATCH: Final[TypeAdapter[AssistantPatch]] = TypeAdapter(AssistantPatch)
ASSISTANT_VERSIONS: Final[TypeAdapter[AssistantVersions]] = TypeAdapter(AssistantVersions)
ASSISTANT_LATEST: Final[TypeAdapter[AssistantLatest]] = TypeAdapter(AssistantLatest)
ASSISTANT_COUNT: Final[TypeAdapter[AssistantCount]] = TypeAdapter(AssistantCount)
ASSISTANT_SEARCH: Final[TypeAdapter[AssistantSearch]] = TypeAdapter(AssistantSearch)


def from_assistant_record(record: AssistantRecord) -> JsonObject:
    """Return an assistant in the form for clients."""
    return {**_shown(record), "updated_at": record.updated_at}


def from_assistant_version(version: AssistantVersion) -> JsonMapping:
    """Return a version in the form for clients."""
    return _shown(version)


def _shown(one: AssistantRecord | AssistantVersion) -> JsonObject:
    return {
        "assistant_id": one.assistant_id,
        "graph_id": one.graph_id,
        "config": one.config,
        "context": one.context,
        "metadata": one.metadata,
        "name": one.name,
        "created_at": one.created_at,
        "version": one.version,
        "description": one.description,
    }


def xray_of(text: str | None) -> bool | int:
    """Return the depth to which subgraphs are drawn: true, false, or a number of levels. Raises Unprocessable."""
    match (text or "false").lower():
        case "true":
            return True
        case "false":
            return False
        case digits if digits.isdecimal() and len(digits) <= 3:
            return int(digits)
    raise Unprocessable("xray: must be true, false, or a number of levels")
