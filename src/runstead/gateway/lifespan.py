"""The lifespan of an app on the loop of user code: one task from its start to its end, as cancel scopes want it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, LoopTask
from runstead.runtime.user_code.user_loop import UserLoop


class Lifespan:
    """What an app opens at its start and closes at its end. Used once."""

    def __init__(self, context: AbstractAsyncContextManager[Mapping[str, Any] | None]) -> None:
        self._context = context
        self._home = asyncio.get_running_loop()
        self._started, self._over = asyncio.Event(), asyncio.Event()
        self._state: Mapping[str, Any] = {}
        self._task: LoopTask[None] | None = None

    async def start(self, user_loop: UserLoop) -> Mapping[str, Any]:
        """Return the state that requests get, once the app has started. Raises what its start raises."""
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
        """Return once the app has closed what it opened. Raises what its end raises."""
        if self._task is None:
            return
        self._task.call(self._over.set)
        await self._task.wait()
        # With a lost loop all that was opened on it is lost too.
        with contextlib.suppress(LoopLost):
            self._task.result()

    async def _live(self) -> None:
        async with self._context as state:
            self._state = state or {}
            self._wake()
            await self._over.wait()

    def _wake(self) -> None:
        """Let `start` look. From any thread."""
        with contextlib.suppress(RuntimeError):
            self._home.call_soon_threadsafe(self._started.set)
