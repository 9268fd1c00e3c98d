"""Server in a thread of this process: a real one, over HTTP, for tests that call it as their clients would."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving

_LONGEST_STOP = 60
"""Seconds that a server may take to end, before a test fails instead of waiting forever."""


@contextmanager
def local_server(application: Application) -> Iterator[str]:
    """Run the application's server for the duration of a block, and yield its URL. Raises the errors of the start."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local-server", daemon=True)
    thread.start()
    started = serving(application)
    try:
        url = asyncio.run_coroutine_threadsafe(started.__aenter__(), loop).result()
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(started.__aexit__(None, None, None), loop).result(_LONGEST_STOP)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LONGEST_STOP)
        loop.close()
