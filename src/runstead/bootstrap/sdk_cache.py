"""``langgraph_sdk.cache`` in user code: the SDK looks for a server's cache on import, and finds Runstead's."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from runstead.resources.cache import Cache, UserCache
from runstead.resources.stale_while_revalidate import StaleWhileRevalidate, SwrResult
from runstead.runtime.clock import Clock
from runstead.runtime.user_code.scope import current_server
from runstead.runtime.user_code.user_loop import UserLoop

_SERVERS: Final[dict[UserLoop, tuple[UserCache, StaleWhileRevalidate]]] = {}
"""Caches of the servers that run, newest last."""


def prepare_sdk() -> None:
    """Declare this process a server to the SDK, before any user code is imported.

    If langgraph-api is installed too, the SDK would import it, which fails outside its own server.
    """
    os.environ["__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT"] = "true"
    _sdk_cache().SWRResult = SwrResult


@contextmanager
def sdk_cache(cache: Cache, clock: Clock, user_loop: UserLoop) -> Iterator[None]:
    """Let ``langgraph_sdk.cache`` use ``cache``, which belongs to the running loop, for the duration of a block.

    It applies to code of the server with this loop; code of an unknown server uses the newest server's cache.
    """
    mine = UserCache(cache)
    _SERVERS[user_loop] = (mine, StaleWhileRevalidate(mine, clock))
    _connect()
    try:
        yield
    finally:
        del _SERVERS[user_loop]
        _connect()


def _connect() -> None:
    # The hooks are private in the SDK; without a server, the SDK's functions raise an error that says so.
    sdk = _sdk_cache()
    sdk._cache_get, sdk._cache_set, sdk._api_swr = (_get, _set, _swr) if _SERVERS else (None, None, None)


def _current() -> tuple[UserCache, StaleWhileRevalidate]:
    server = current_server()
    own = _SERVERS.get(server) if isinstance(server, UserLoop) else None
    return own or list(_SERVERS.values())[-1]


async def _get(*arguments: Any, **options: Any) -> Any:
    return await _current()[0].get(*arguments, **options)


async def _set(*arguments: Any, **options: Any) -> None:
    await _current()[0].set(*arguments, **options)


async def _swr(*arguments: Any, **options: Any) -> SwrResult[Any]:
    return await _current()[1].swr(*arguments, **options)


def _sdk_cache() -> Any:
    name = "langgraph_sdk.cache"
    if name in sys.modules:
        return sys.modules[name]
    missing = object()
    before: Any = sys.modules.get("langgraph_api", missing)
    # An entry of None makes an import fail with ImportError.
    sys.modules["langgraph_api"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module(name)
    finally:
        if before is missing:
            del sys.modules["langgraph_api"]
        else:
            sys.modules["langgraph_api"] = before
