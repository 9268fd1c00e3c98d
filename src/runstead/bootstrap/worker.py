"""Worker process around an application: it executes runs until it is stopped, and serves no requests."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Final

from .application import Application
from .server import THREAD_TURN

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def work(application: Application, *, on_started: Callable[[], None] | None = None, replaceable: bool = False) -> bool:
    """Execute runs in the foreground until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    ``on_started`` is called once runs are claimed. Raises as `Application.running`. Return whether the caller must
    replace this process, see `runstead.bootstrap.server.serve`.
    """
    # Threads that use the CPU release the interpreter sooner than after Python's default of 5 ms (docs/adr/0001).
    sys.setswitchinterval(THREAD_TURN)
    return asyncio.run(_work(application, on_started, replaceable))


async def _work(application: Application, on_started: Callable[[], None] | None, replaceable: bool) -> bool:
    loop, stop_requested = asyncio.get_running_loop(), asyncio.Event()
    is_to_be_replaced = False

    def end_to_be_replaced() -> None:
        nonlocal is_to_be_replaced
        is_to_be_replaced = True
        stop_requested.set()

    def stop() -> None:
        stop_requested.set()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    if replaceable:
        application.replace_process = end_to_be_replaced
    async with application.running():
        if on_started is not None:
            on_started()
        await stop_requested.wait()
    return is_to_be_replaced
