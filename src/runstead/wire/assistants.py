"""Assistants on the wire: how they are found and shown."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import TypeAdapter

from runstead.resources.assistants import AssistantFilter, AssistantRecord, AssistantSortField

from .body import WireModel
from .errors import Unprocessable
from .pages import Limit, Offset

ASSISTANT_FIELDS: Final = (
    "assistant_id", "graph_id", "config", "context", "metadata", "name", "created_at", "updated_at", "version",
    "description",
)  # fmt: skip
"""What ``select`` may name."""


class AssistantCount(WireModel):
    graph_id: str | None = None
    name: str | None = None
    metadata: dict[str, Any] | None = None

    def to_filter(self) -> AssistantFilter:
        return AssistantFilter(self.graph_id, self.name, self.metadata or {})


class AssistantSearch(AssistantCount):
    limit: Limit | None = None
    offset: Offset | None = None
    sort_by: AssistantSortField | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


ASSISTANT_COUNT: Final[TypeAdapter[AssistantCount]] = TypeAdapter(AssistantCount)
ASSISTANT_SEARCH: Final[TypeAdapter[AssistantSearch]] = TypeAdapter(AssistantSearch)


def from_assistant_record(record: AssistantRecord) -> dict[str, Any]:
    """An assistant as clients read it."""
    return {
        "assistant_id": record.assistant_id,
        "graph_id": record.graph_id,
        "config": record.config,
        "context": record.context,
        "metadata": record.metadata,
        "name": record.name,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "version": record.version,
        "description": record.description,
    }


def xray_of(text: str | None) -> bool | int:
    """How deep to draw subgraphs: true, false, or a number of levels. Raises Unprocessable."""
    match (text or "false").lower():
        case "true":
            return True
        case "false":
            return False
        case digits if digits.isdecimal() and len(digits) <= 3:
            return int(digits)
    raise Unprocessable("xray: must be true, false, or a number of levels")
