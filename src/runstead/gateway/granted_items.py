"""Items as auth handlers granted them: what they wrote into the value of their question is what is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from runstead.runtime.actor_context import ActorContext
from runstead.wire.authorization import Filters, item_filter_of
from runstead.wire.errors import Unprocessable, sentence_of
from runstead.wire.items import PREFIX


def shared_namespace(
    actor: ActorContext, asked: Mapping[str, Any], granted: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """Return the namespace that a handler shares by leading the actor to it; None where it shares none.

    It is what the handler wrote in front of the namespace that was asked for, or all of it where that is something
    else. One that names the user is theirs alone, as it is without a handler.
    """
    before, now = _labels(asked.get("namespace")), _labels(granted.get("namespace"))
    if not now or now == before or actor.user_id in now:
        return None
    return now[: len(now) - len(before)] if before and now[-len(before) :] == before else now


def item_changes(
    asked: Mapping[str, Any], granted: Mapping[str, Any], fields: Mapping[str, str], narrowing: Filters | None
) -> dict[str, Any]:
    """Return what a request's body is to say instead, by its own names of the ``fields``; the route checks the rest.

    ``narrowing`` is a filter over the items that are found. Raises Unprocessable for a namespace that cannot be one.
    """
    changes = {fields[name]: value for name, value in _changed(asked, granted).items() if name in fields}
    if narrowing and "filter" in fields:
        changes["filter"] = item_filter_of(narrowing, granted.get("filter"))
    return changes


class GrantedItems:
    """The item store for a request without a body, which names its item in the address."""

    def __init__(self, items: Any, asked: Mapping[str, Any], granted: Mapping[str, Any]) -> None:
        self._items = items
        self._changed = _changed(asked, granted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._items, name)

    async def aget(self, namespace: Any, key: str, **options: Any) -> Any:
        told = {"namespace": namespace, "key": key, **options, **self._changed}
        return await self._items.aget(tuple(told.pop("namespace")), told.pop("key"), **told)


def _changed(asked: Mapping[str, Any], granted: Mapping[str, Any]) -> dict[str, Any]:
    """What the handlers wrote, with namespaces as lists. Raises Unprocessable."""
    changed = {name: value for name, value in granted.items() if name in asked and value != asked[name]}
    if "namespace" in changed:
        labels = list(_labels(changed["namespace"]))
        try:
            changed["namespace"] = PREFIX.validate_python(labels)
        except ValidationError as error:
            sentence = sentence_of(error.errors(include_url=False, include_context=False))
            raise Unprocessable(f"namespace, as this server's auth handler rewrote it: {sentence}") from error
    return changed


def _labels(namespace: Any) -> tuple[Any, ...]:
    return tuple(namespace) if isinstance(namespace, list | tuple) else ()
