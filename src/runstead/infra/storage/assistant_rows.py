"""Conversion of assistants and their versions to rows, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement

from runstead.resources.assistants import AssistantDraft, AssistantRecord, AssistantVersion

from . import json_text
from .schema import assistant_versions, assistants

SAID: Final = ("graph_id", "name", "config", "context", "metadata", "description")
"""The columns that an assistant and its versions have in common: their content."""

RECORD: Final[Sequence[ColumnElement[Any]]] = (
    *(assistants.c[name] for name in SAID),
    assistants.c.assistant_id,
    assistants.c.version,
    assistants.c.created_at,
    assistants.c.updated_at,
    assistants.c.shared,
)
VERSION: Final[Sequence[ColumnElement[Any]]] = (
    *(assistant_versions.c[name] for name in SAID),
    assistant_versions.c.assistant_id,
    assistant_versions.c.version,
    assistant_versions.c.created_at,
)


def said_row(draft: AssistantDraft) -> dict[str, Any]:
    """Return the columns of SAID. Raises NotJson."""
    return {
        "graph_id": draft.graph_id,
        "name": draft.name,
        "config": json_text.dump(draft.config),
        "context": json_text.dump(draft.context),
        "metadata": json_text.dump(draft.metadata),
        "description": draft.description,
    }


def version_row(assistant_id: str, version: int, said: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the row of a version created now."""
    return {**said, "assistant_id": assistant_id, "version": version, "created_at": now}


def to_record(row: Sequence[Any]) -> AssistantRecord:
    """Return the record for a row of RECORD."""
    assistant_id, version, created_at, updated_at, shared = row[len(SAID) :]
    return AssistantRecord(
        assistant_id=assistant_id,
        version=version,
        created_at=created_at,
        updated_at=updated_at,
        shared=bool(shared),
        **_said(row),
    )


def to_version(row: Sequence[Any]) -> AssistantVersion:
    """Return the version for a row of VERSION."""
    assistant_id, version, created_at = row[len(SAID) :]
    return AssistantVersion(assistant_id=assistant_id, version=version, created_at=created_at, **_said(row))


def _said(row: Sequence[Any]) -> dict[str, Any]:
    graph_id, name, config, context, metadata, description = row[: len(SAID)]
    return {
        "graph_id": graph_id,
        "name": name,
        "config": json_text.load(config),
        "context": json_text.load(context),
        "metadata": json_text.load(metadata),
        "description": description,
    }
