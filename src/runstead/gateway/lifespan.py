"""Lifespan of an app on the loop of user code, in a single task from start to end, as cancel scopes require."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager

from runstead.runtime.json_types import JsonMapping
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, LoopTask
from runstead.runtime.user_code.user_loop import UserLoop


class Lifespan:
    """Lifespan of an app, which opens resources at its start and closes them at its end. Use once."""

    def __init__(self, context: AbstractAsyncContextManager[JsonMapping | None]) -> None:
        self._context = context
        self._home = asyncio.get_running_loop()
        self._started, self._over = asyncio.Event(), asyncio.Event()
        self._state: JsonMapping = {}
        self._task: LoopTask[None] | None = None

    async def start(self, user_loop: UserLoop) -> JsonMapping:
        """Start the app and return its state for requests. Raises the errors of its start."""
        task = self._task = user_loop.submit(self._live, UserWork("lifespan of http.app"))
        task.when_ended(self._wake)
        try:
            await self._started.wait()
        except asyncio.CancelledError:
            task.cancel()
            await task.wait()
            raise
        if task.ended:
            self._task = None
            task.result()
        return self._state

    async def end(self) -> None:
        """End the app and wait until it has closed its resources. Raises the errors of its end."""
        if self._task is None:
            return
        self._task.call(self._over.set)
        await self._task.wait()
        # If the loop was lost, everything opened on it is lost too.
        with contextlib.suppress(LoopLost):
            self._task.result()

    async def _live(self) -> None:
        async with self._context as state:
            self._state = state or {}
            self._wake()
            await self._over.wait()

    def _wake(self) -> None:
        """Wake `start`. Callable from any thread."""
        with contextlib.suppress(RuntimeError):
            self._home.call_soon_threadsafe(self._started.set)
