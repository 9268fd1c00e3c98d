"""The two clients of langgraph_sdk behind one interface, so that each scenario is written once.

The clients are unchanged: the synchronous one is called from a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Literal, TypeAlias

from langgraph_sdk import get_client, get_sync_client

Flavour: TypeAlias = Literal["async", "sync"]

_OVER = object()


def client_of(flavour: Flavour, url: str, **options: Any) -> Any:
    """An unmodified client for the server at ``url``."""
    if flavour == "async":
        return get_client(url=url, api_key=None, **options)
    return _Threaded(get_sync_client(url=url, api_key=None, **options))


class _Threaded:
    """A synchronous client whose calls are awaited, and whose streams are read with ``async for``."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return (lambda *args, **kwargs: _Call(lambda: found(*args, **kwargs))) if callable(found) else _Threaded(found)


class _Call:
    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.to_thread(self._call).__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        parts = iter(await asyncio.to_thread(self._call))
        while (part := await asyncio.to_thread(next, parts, _OVER)) is not _OVER:
            yield part


def remote_of(flavour: Flavour, graph: Any) -> Any:
    """``graph`` with half of its methods: ``invoke`` is either its `ainvoke`, or its `invoke` in a thread."""
    return _Half("a" if flavour == "async" else "", graph)


class _Half:
    def __init__(self, prefix: str, graph: Any) -> None:
        self._prefix, self._graph = prefix, graph

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, f"a{name}") if self._prefix else getattr(_Threaded(self._graph), name)

    def with_config(self, *args: Any, **kwargs: Any) -> Any:
        return _Half(self._prefix, self._graph.with_config(*args, **kwargs))
