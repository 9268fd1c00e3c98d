"""Assistants: a graph with settings, under an id, in versions; and the port that stores them.

Every graph has an assistant of its own, made when the server starts. Who may change what is in `assistant_editor`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, TypeAlias

NAMESPACE_GRAPH: Final = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""The namespace in which langgraph-api derives a graph's own assistant id (4-wire, section 2)."""

AssistantSortField: TypeAlias = Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"]

UNTITLED: Final = "Untitled"
"""The name of an assistant that was given none."""


def assistant_id_of(graph_id: str) -> str:
    """The id of a graph's own assistant: the same on every server."""
    return str(uuid.uuid5(NAMESPACE_GRAPH, graph_id))


@dataclass(frozen=True, slots=True)
class AssistantDraft:
    """All that a version says: what is written when an assistant is made, changed, or set back."""

    graph_id: str
    name: str = UNTITLED
    config: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None


@dataclass(frozen=True, slots=True)
class AssistantRecord:
    """An assistant as stored: what its current version says. A ``shared`` one belongs to the server and is visible to
    everybody.
    """

    assistant_id: str
    graph_id: str
    name: str
    config: Mapping[str, Any]
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class AssistantVersion:
    """What an assistant was when this version was made. Versions are numbered from 1 and never change."""

    assistant_id: str
    version: int
    graph_id: str
    name: str
    config: Mapping[str, Any]
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    created_at: datetime
    description: str | None = None


@dataclass(frozen=True, slots=True)
class AssistantChange:
    """What is to be changed. None leaves a field as it is.

    ``metadata`` are merged in (top-level keys replace); config and context are replaced. ``has_description`` tells that
    the description is meant, also when it is None. Configurable and context are one thing under two names: whichever is
    given is both afterwards, and a config that does not speak of configurable keeps it.
    """

    graph_id: str | None = None
    name: str | None = None
    config: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    description: str | None = None
    has_description: bool = False

    def applied_to(self, before: AssistantRecord) -> AssistantDraft:
        """What the next version says."""
        config = dict(before.config if self.config is None else self.config)
        context = dict(before.context)
        if self.context is not None:
            context = dict(self.context)
        elif self.config is not None and "configurable" in self.config:
            context = dict(self.config["configurable"])
        metadata = {**before.metadata, **(self.metadata or {})}
        if before.shared:
            # Clients find the graphs' own assistants by this mark.
            metadata |= {"created_by": "system"}
        return AssistantDraft(
            graph_id=self.graph_id or before.graph_id,
            name=before.name if self.name is None else self.name,
            config=mirrored(config, context),
            context=context,
            metadata=metadata,
            description=self.description if self.has_description else before.description,
        )


def mirrored(config: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with ``context`` as its configurable; without one where there is nothing to say."""
    others = {key: value for key, value in config.items() if key != "configurable"}
    return {**others, "configurable": dict(context)} if context else others


@dataclass(frozen=True, slots=True)
class AssistantFilter:
    """Which assistants to find; ANDed. ``name`` is a case-insensitive part; ``metadata`` is contained."""

    graph_id: str | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class AssistantExists(Exception):
    """An assistant with this id exists already."""

    def __init__(self, assistant_id: str) -> None:
        self.assistant_id = assistant_id
        super().__init__(f"Assistant {assistant_id} already exists")


class VersionNotFound(Exception):
    """The assistant has no version of this number."""

    def __init__(self, assistant_id: str, version: int) -> None:
        super().__init__(f"Version {version} not found for assistant {assistant_id}")


class AssistantStore(Protocol):
    """Keeps assistants under the bound actor (ActorRequired without one): their own and the shared ones.

    Somebody else's look absent. The store knows no policy: whoever sees a shared one can change it here.
    """

    async def register_graphs(
        self, graphs: Mapping[str, str | None], names: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Make a shared assistant for every graph (id -> description) that has none; unscoped, at start-up. It is
        called by the graph's id unless ``names`` has another name.

        One that is there stays as it is, whatever it was changed to, with all its versions. Shared assistants of graphs
        that are gone stay, so that their threads remain readable. Somebody's assistant that has taken a graph's id
        is moved to a new one, with its versions: a graph is everybody's.
        """
        ...

    async def get(self, assistant_id: str) -> AssistantRecord | None: ...

    async def create(
        self,
        draft: AssistantDraft,
        *,
        assistant_id: str | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> AssistantRecord:
        """A new assistant of the actor's (uuid7 where no id is given), in version 1; or the one that exists, unchanged,
        for ``do_nothing``.

        Raises AssistantExists; also when the id is somebody else's, whatever ``if_exists`` says. ValueError for what
        cannot be an id.
        """
        ...

    async def update(self, assistant_id: str, change: AssistantChange) -> AssistantRecord | None:
        """The assistant after ``change``, as a new version, which is the current one; None when there is none.

        The number is one more than the highest, also while an older version is the current one. Changes at once are
        made one after the other: each sees what the former left, and each gets a number of its own.
        """
        ...

    async def delete(self, assistant_id: str) -> bool:
        """Forget the assistant and its versions; False when there is none. Runs and threads are not touched."""
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
        """Matching assistants, by what they are now, in a stable order (the id breaks ties)."""
        ...

    async def count(self, where: AssistantFilter) -> int: ...

    async def versions(
        self, assistant_id: str, *, metadata: Mapping[str, Any] | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[AssistantVersion]:
        """Its versions that contain ``metadata``, the newest first; none when there is no such assistant."""
        ...

    async def set_latest(self, assistant_id: str, version: int) -> AssistantRecord | None:
        """Make ``version`` the current one: the assistant says again all that it said; None when there is none.

        No version is made or lost. Raises VersionNotFound.
        """
        ...
