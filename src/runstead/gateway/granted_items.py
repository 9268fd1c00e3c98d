"""The items of a namespace that handlers were asked about, and may have rewritten."""

from __future__ import annotations

from typing import Any

from langgraph.store.base import InvalidNamespaceError

from runstead.wire.errors import Unprocessable


class GrantedItems:
    """The item store, always in ``namespace``: what the handlers made of the one that was asked for."""

    def __init__(self, items: Any, namespace: Any) -> None:
        self._items = items
        self._namespace = None if namespace is None else tuple(str(label) for label in namespace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._items, name)

    async def aput(self, _: Any, key: str, value: dict[str, Any], **options: Any) -> None:
        try:
            await self._items.aput(self._within(), key, value, **options)
        except InvalidNamespaceError as error:
            raise Unprocessable(f"namespace, as this server's auth handler rewrote it: {error}") from error

    async def aget(self, _: Any, key: str, **options: Any) -> Any:
        return await self._items.aget(self._within(), key, **options)

    async def adelete(self, _: Any, key: str) -> None:
        await self._items.adelete(self._within(), key)

    async def asearch(self, _: Any, **options: Any) -> Any:
        return await self._items.asearch(self._within(), **options)

    async def alist_namespaces(self, *, prefix: Any = None, **options: Any) -> Any:
        return await self._items.alist_namespaces(prefix=self._namespace or None, **options)

    def _within(self) -> tuple[str, ...]:
        return self._namespace or ()
