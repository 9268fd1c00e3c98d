"""A worker process around an application: it executes runs until it is told to go, and answers no requests."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Final

from .application import Application
from .server import THREAD_TURN

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def work(application: Application, *, on_started: Callable[[], None] | None = None) -> None:
    """Execute runs in the foreground until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    ``on_started`` is called once runs are taken. Raises what `Application.running` raises.
    """
    # Threads that burn CPU give the interpreter back sooner than after Python's own 5 ms (docs/adr/0001).
    sys.setswitchinterval(THREAD_TURN)
    asyncio.run(_work(application, on_started))


async def _work(application: Application, on_started: Callable[[], None] | None) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        told.set()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    async with application.running():
        if on_started is not None:
            on_started()
        await told.wait()
