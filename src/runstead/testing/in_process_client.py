"""Asynchronous client of a server in this process, without a socket: for tests that are coroutines."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from langgraph_sdk.client import LangGraphClient

from runstead.gateway.loopback_transport import LoopbackTransport
from runstead.runtime.clock import Clock

from .agent_application import Graphs, application_for_test, configuration_for_test, settings_for_test
from .server_node import IN_PROCESS


@asynccontextmanager
async def agent_client(
    graphs: Graphs,
    *,
    folder: Path | None = None,
    clock: Clock | None = None,
    headers: Mapping[str, str] | None = None,
    **settings: object,
) -> AsyncIterator[LangGraphClient]:
    """Run a server on the running loop for the duration of a block, and yield the SDK's client of it.

    ``graphs``: a graph, which becomes ``agent``, a mapping of graphs, or the path of a langgraph.json. ``folder``: its
    data directory; a temporary one otherwise. Raises the errors of the start.
    """
    with tempfile.TemporaryDirectory(prefix="runstead-test-", ignore_cleanup_errors=True) as scratch:
        found = settings_for_test(folder or Path(scratch), **settings)
        application = application_for_test(configuration_for_test(graphs), found, clock)
        async with (
            application.running(),
            httpx.AsyncClient(
                base_url=IN_PROCESS, transport=LoopbackTransport(application.asgi), headers=headers, timeout=None
            ) as connection,
        ):
            yield LangGraphClient(connection)
