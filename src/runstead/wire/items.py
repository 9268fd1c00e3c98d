"""Store items on the wire: namespaced values that outlive threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Protocol, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from runstead.resources.item_scoping import MAX_TTL
from runstead.runtime.json_types import JsonObject

from .body import WireModel
from .pages import Limit, Offset

_MAX_LABELS: Final = 100


class StoredItem(Protocol):
    """Item as LangGraph's stores return it."""

    @property
    def namespace(self) -> tuple[str, ...]: ...
    @property
    def key(self) -> str: ...
    @property
    def value(self) -> JsonObject: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def updated_at(self) -> datetime: ...


def _check_label(label: str) -> str:
    if not label or "." in label:
        raise PydanticCustomError(
            "identifier", "Namespace label '{label}' must be a non-empty string without periods", {"label": label[:100]}
        )
    return label


def _check_root(labels: list[str]) -> list[str]:
    if labels and labels[0] == "langgraph":
        raise PydanticCustomError("identifier", "Root label for namespace cannot be 'langgraph'")
    return labels


Label: TypeAlias = Annotated[str, AfterValidator(_check_label)]
Namespace: TypeAlias = Annotated[list[Label], Field(min_length=1, max_length=_MAX_LABELS), AfterValidator(_check_root)]
Prefix: TypeAlias = Annotated[list[Label], Field(max_length=_MAX_LABELS)]
Pattern: TypeAlias = Annotated[list[Label], Field(max_length=_MAX_LABELS)]


class ItemPut(WireModel):
    """Item to store. ``index`` names the paths that are indexed for search; false for none. ``ttl`` is in minutes; null
    for no expiry."""

    namespace: Namespace
    key: str = Field(min_length=1)
    value: JsonObject
    index: Literal[False] | list[str] | None = None
    ttl: float | None = Field(None, gt=0, le=MAX_TTL, allow_inf_nan=False)


class ItemDelete(WireModel):
    namespace: Namespace
    key: str


class ItemSearch(WireModel):
    namespace_prefix: Prefix
    filter: JsonObject | None = None
    limit: Limit | None = None
    offset: Offset | None = None
    query: str | None = None
    refresh_ttl: bool | None = None


class NamespaceSearch(WireModel):
    prefix: Pattern | None = None
    suffix: Pattern | None = None
    max_depth: int | None = Field(None, ge=1, le=_MAX_LABELS)
    limit: Limit | None = None
    offset: Offset | None = None


ITEM_PUT: Final[TypeAdapter[ItemPut]] = TypeAdapter(ItemPut)
ITEM_DELETE: Final[TypeAdapter[ItemDelete]] = TypeAdapter(ItemDelete)
ITEM_SEARCH: Final[TypeAdapter[ItemSearch]] = TypeAdapter(ItemSearch)
NAMESPACE_SEARCH: Final[TypeAdapter[NamespaceSearch]] = TypeAdapter(NamespaceSearch)
NAMESPACE: Final[TypeAdapter[list[str]]] = TypeAdapter(Namespace)
PREFIX: Final[TypeAdapter[list[str]]] = TypeAdapter(Annotated[Prefix, AfterValidator(_check_root)])


def from_item(item: StoredItem, *, score: bool = False) -> JsonObject:
    """Return an item in the form for clients; with its score for a search."""
    shown = {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": item.value,
        "created_at": _utc(item.created_at),
        "updated_at": _utc(item.updated_at),
    }
    return {**shown, "score": getattr(item, "score", None)} if score else shown


def _utc(moment: datetime) -> datetime:
    """Return the time in UTC. Some of LangGraph's stores omit the time zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def from_namespaces(namespaces: Sequence[tuple[str, ...]]) -> JsonObject:
    return {"namespaces": [list(namespace) for namespace in namespaces]}
