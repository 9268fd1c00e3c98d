"""``langgraph_sdk.cache`` in user code: the SDK looks for a server's cache at its import, and finds ours."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from runstead.resources.cache import Cache, UserCache
from runstead.resources.stale_while_revalidate import StaleWhileRevalidate, SwrResult
from runstead.runtime.clock import Clock

_SERVERS: Final[list[tuple[UserCache, Callable[..., Any]]]] = []
"""Caches of the servers that run, and their `swr`; the newest is in use."""


def prepare_sdk() -> None:
    """Let the SDK know that this process is a server, before any user code is imported.

    Where langgraph-api is installed too, the SDK would import it, which fails outside of its own server.
    """
    os.environ["__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT"] = "true"
    _sdk_cache().SWRResult = SwrResult


@contextmanager
def sdk_cache(cache: Cache, clock: Clock) -> Iterator[None]:
    """Let ``langgraph_sdk.cache`` use ``cache``, which lives on the running loop, for the length of a block."""
    mine = UserCache(cache)
    server = (mine, StaleWhileRevalidate(mine, clock).swr)
    _SERVERS.append(server)
    _connect()
    try:
        yield
    finally:
        _SERVERS.remove(server)
        _connect()


def _connect() -> None:
    # The hooks are private there; without a server, the SDK's functions say that they need one.
    sdk = _sdk_cache()
    mine, swr = _SERVERS[-1] if _SERVERS else (None, None)
    sdk._cache_get = mine and mine.get
    sdk._cache_set = mine and mine.set
    sdk._api_swr = swr


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
