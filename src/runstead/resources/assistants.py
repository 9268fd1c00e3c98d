"""Assistants, each a graph with settings, under an id, in versions; and the port that stores them.

Every graph has a default assistant, created when the server starts. `assistant_editor` decides who may change an
assistant.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import AssistantId

NAMESPACE_GRAPH: Final = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Namespace from which langgraph-api derives the id of a graph's default assistant (4-wire, section 2)."""

AssistantSortField: TypeAlias = Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"]

UNTITLED: Final = "Untitled"
"""Name of an assistant without a given name."""


@lru_cache(maxsize=1024)
def assistant_id_of(graph_id: str) -> AssistantId:
    """Return the id of a graph's default assistant: the same on every server."""
    return AssistantId(str(uuid.uuid5(NAMESPACE_GRAPH, graph_id)))


@dataclass(frozen=True, slots=True)
class AssistantDraft:
    """Complete content of a version, which is written when an assistant is created, changed, or set back."""

    graph_id: str
    name: str = UNTITLED
    config: JsonMapping = field(default_factory=dict)
    context: JsonMapping = field(default_factory=dict)
    metadata: JsonMapping = field(default_factory=dict)
    description: str | None = None


@dataclass(frozen=True, slots=True)
class AssistantRecord:
    """Assistant as stored, with the content of its current version. A ``shared`` one belongs to the server and is
    visible to all users."""

    assistant_id: AssistantId
    graph_id: str
    name: str
    config: JsonMapping
    context: JsonMapping
    metadata: JsonMapping
    version: int
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class AssistantVersion:
    """Content of an assistant when this version was created. Versions are numbered from 1 and never change."""

    assistant_id: AssistantId
    version: int
    graph_id: str
    name: str
    config: JsonMapping
    context: JsonMapping
    metadata: JsonMapping
    created_at: datetime
    description: str | None = None


@dataclass(frozen=True, slots=True)
class AssistantChange:
    """Change of an assistant. None leaves a field unchanged.

    ``metadata`` are merged (top-level keys replace); config and context are replaced. ``has_description`` means that
    the description is changed, even to None. Configurable and context are two names for the same values: whichever is
    given replaces both, and a config without configurable keeps it.
    """

    graph_id: str | None = None
    name: str | None = None
    config: JsonMapping | None = None
    context: JsonMapping | None = None
    metadata: JsonMapping | None = None
    description: str | None = None
    has_description: bool = False

    def applied_to(self, before: AssistantRecord) -> AssistantDraft:
        """Return the content of the next version."""
        config = dict(before.config if self.config is None else self.config)
        context = dict(before.context)
        if self.context is not None:
            context = dict(self.context)
        elif self.config is not None and "configurable" in self.config:
            context = dict(self.config["configurable"])
        metadata = {**before.metadata, **(self.metadata or {})}
        if before.shared:
            # Clients recognize default assistants by this mark.
            metadata |= {"created_by": "system"}
        return AssistantDraft(
            graph_id=self.graph_id or before.graph_id,
            name=before.name if self.name is None else self.name,
            config=mirrored(config, context),
            context=context,
            metadata=metadata,
            description=self.description if self.has_description else before.description,
        )


def mirrored(config: JsonMapping, context: JsonMapping) -> JsonObject:
    """Return ``config`` with ``context`` as its configurable, or without configurable if ``context`` is empty."""
    others = {key: value for key, value in config.items() if key != "configurable"}
    return {**others, "configurable": dict(context)} if context else others


@dataclass(frozen=True, slots=True)
class AssistantFilter:
    """Filter of assistants; all conditions must hold. ``name`` is a case-insensitive substring; ``metadata`` must be
    contained."""

    graph_id: str | None = None
    name: str | None = None
    metadata: JsonMapping = field(default_factory=dict)


class AssistantExists(Exception):
    """An assistant with this id exists already."""

    def __init__(self, assistant_id: AssistantId) -> None:
        self.assistant_id = assistant_id
        super().__init__(f"Assistant {assistant_id} already exists")


class VersionNotFound(Exception):
    """The assistant has no version of this number."""

    def __init__(self, assistant_id: AssistantId, version: int) -> None:
        super().__init__(f"Version {version} not found for assistant {assistant_id}")


class AssistantStore(Protocol):
    """Assistants under the bound actor (ActorRequired without one): the actor's own and the shared ones.

    Another user's assistant looks like a missing one. The store enforces no policy: an actor who can see a shared
    assistant can change it here.
    """

    async def register_graphs(
        self, graphs: Mapping[str, str | None], names: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Create a shared assistant for every graph (id -> description) that has none; unscoped, at start-up. Its name
        is the graph's id unless ``names`` contains another one.

        An existing one is kept with all its changes and versions. Shared assistants of removed graphs stay, so that
        their threads remain readable. A user's assistant that occupies a graph's id is moved to a new id, with its
        versions, since a graph is shared by all users.
        """
        ...

    async def get(self, assistant_id: AssistantId) -> AssistantRecord | None: ...

    async def create(
        self,
        draft: AssistantDraft,
        *,
        assistant_id: AssistantId | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> AssistantRecord:
        """Return a new assistant of the actor (uuid7 if no id is given), in version 1; or with ``do_nothing`` the
        existing one, unchanged.

        Raises AssistantExists; also if the id belongs to another user, regardless of ``if_exists``. Raises ValueError
        for an invalid id.
        """
        ...

    async def update(self, assistant_id: AssistantId, change: AssistantChange) -> AssistantRecord | None:
        """Return the assistant after ``change``, which creates a new, current version; None if there is no such
        assistant.

        The new number is one more than the highest, even if an older version is current. Concurrent changes are applied
        one after the other: each sees the result of the previous one, and each gets its own number.
        """
        ...

    async def delete(self, assistant_id: AssistantId) -> bool:
        """Delete the assistant and its versions; return False if there is none. Runs and threads are not changed."""
        ...

    async def search(
        self,
        where: AssistantFilter,
        *,
        sort_by: AssistantSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[AssistantRecord]:
        """Return matching assistants, compared by their current version, in a stable order (the id breaks ties)."""
        ...

    async def count(self, where: AssistantFilter) -> int: ...

    async def versions(
        self, assistant_id: AssistantId, *, metadata: JsonMapping | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[AssistantVersion]:
        """Return its versions that contain ``metadata``, newest first; none if there is no such assistant."""
        ...

    async def set_latest(self, assistant_id: AssistantId, version: int) -> AssistantRecord | None:
        """Make ``version`` the current one, and return the assistant with its content; None if there is no such
        assistant.

        No version is created or lost. Raises VersionNotFound.
        """
        ...
