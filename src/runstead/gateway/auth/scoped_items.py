"""Item operations with the changes of auth handlers: a handler's changes to the value are applied to the operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.wire.authorization import Filters, item_filter_of
from runstead.wire.errors import Unprocessable, sentence_of
from runstead.wire.items import PREFIX


def shared_namespace(actor: ActorContext, asked: JsonMapping, granted: JsonMapping) -> tuple[str, ...] | None:
    """Return the namespace that a handler shares by redirecting the actor to it; None if it shares none.

    It is the prefix that the handler added to the requested namespace, or the complete new namespace if that does not
    end with the requested one. A namespace that contains the user's id is the user's own, as without a handler.
    """
    before, now = _labels(asked.get("namespace")), _labels(granted.get("namespace"))
    if not now or now == before or actor.user_id in now:
        return None
    return now[: len(now) - len(before)] if before and now[-len(before) :] == before else now


def item_changes(
    asked: JsonMapping, granted: JsonMapping, fields: Mapping[str, str], narrowing: Filters | None
) -> JsonObject:
    """Return the changed fields of the request's body, by its own names in ``fields``; the route validates the rest.

    ``narrowing`` is a filter over the items that are found. Raises Unprocessable for an invalid namespace.
    """
    changes = {fields[name]: value for name, value in _changed(asked, granted).items() if name in fields}
    if narrowing and "filter" in fields:
        changes["filter"] = item_filter_of(narrowing, granted.get("filter"))
    return changes


class ScopedItems:
    """Item store for a request without a body, which names its item in the URL."""

    def __init__(self, items: Any, asked: JsonMapping, granted: JsonMapping) -> None:
        self._items = items
        self._changed = _changed(asked, granted)

    def __getattr__(self, name: str) -> object:
        return getattr(self._items, name)

    async def aget(self, namespace: Any, key: str, **options: Any) -> object:
        changed = {"namespace": namespace, "key": key, **options, **self._changed}
        return await self._items.aget(tuple(changed.pop("namespace")), changed.pop("key"), **changed)


def _changed(asked: JsonMapping, granted: JsonMapping) -> JsonObject:
    """Return the handlers' changes, with namespaces as lists. Raises Unprocessable."""
    changed = {name: value for name, value in granted.items() if name in asked and value != asked[name]}
    if "namespace" in changed:
        labels = list(_labels(changed["namespace"]))
        try:
            changed["namespace"] = PREFIX.validate_python(labels)
        except ValidationError as error:
            sentence = sentence_of(error.errors(include_url=False, include_context=False))
            raise Unprocessable(f"namespace, as this server's auth handler rewrote it: {sentence}") from error
    return changed


def _labels(namespace: object) -> tuple[Any, ...]:
    return tuple(namespace) if isinstance(namespace, list | tuple) else ()
