"""Services in which only what matches a filter is found, and items in the namespace that was granted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

from langgraph.store.base import InvalidNamespaceError

from runstead.wire.authorization import Filters, both, containment_of
from runstead.wire.errors import Unprocessable

from .services import Services


def narrowed(services: Services, filters: Filters) -> Services:
    """``services`` whose searches find what matches ``filters``. Reading by id is checked elsewhere."""

    def within(store: Any) -> Any:
        return _Narrowed(store, filters)

    return dataclasses.replace(
        services,
        threads=cast(Any, within(services.threads)),
        assistants=cast(Any, within(services.assistants)),
        runs=cast(Any, within(services.runs)),
        deliveries=cast(Any, within(services.deliveries)),
        crons=cast(Any, within(services.crons)),
    )


class _Narrowed:
    """A store whose ``where`` is asked for together with the filter; everything else it does as ever."""

    def __init__(self, store: Any, filters: Filters) -> None:
        self._store, self._granted = store, containment_of(filters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def search(self, where: Any, **page: Any) -> Sequence[Any]:
        found: Sequence[Any] = (
            () if (narrow := self._within(where)) is None else await self._store.search(narrow, **page)
        )
        return found

    async def count(self, where: Any) -> int:
        narrow = self._within(where)
        return 0 if narrow is None else int(await self._store.count(narrow))

    async def list_runs(self, where: Any, **page: Any) -> Sequence[Any]:
        narrow = self._within(where)
        found: Sequence[Any] = () if narrow is None else await self._store.list_runs(narrow, **page)
        return found

    async def count_runs(self, where: Any) -> int:
        narrow = self._within(where)
        return 0 if narrow is None else int(await self._store.count_runs(narrow))

    def _within(self, where: Any) -> Any:
        """None when nothing can be what was asked for and match."""
        wanted = both(where.metadata, self._granted)
        return None if wanted is None else dataclasses.replace(where, metadata=wanted)


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
