"""A second listener of a server or worker, for metrics and health on a port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn

from runstead.gateway.metrics_app import metrics_app
from runstead.gateway.services import Services
from runstead.resources.storage_errors import StorageUnusable
from runstead.settings import Settings

_log = logging.getLogger(__name__)

_CONNECTIONS: Final = 32
_CLOSE_WITHIN: Final = 1


class _QuietServer(uvicorn.Server):
    """A server beside another one, which handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def metrics_server(settings: Settings, services: Services) -> AsyncIterator[None]:
    """Serve metrics on ``metrics_port`` for the duration of a block; do nothing without that setting.

    Raises StorageUnusable if the address is not available.
    """
    if settings.metrics_port is None:
        yield
        return
    host = settings.metrics_host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, settings.metrics_port), family=family)
    except OSError as error:
        raise StorageUnusable(
            f"cannot listen on {host}:{settings.metrics_port} for metrics: {error.strerror or error}; "
            "choose another metrics_port, or 0 for a free one"
        ) from error
    options = uvicorn.Config(
        metrics_app(services),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSE_WITHIN,
    )
    server = _QuietServer(options)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="metrics-server")
    _log.info("metrics are served at http://%s:%d/metrics", host, listener.getsockname()[1])
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
