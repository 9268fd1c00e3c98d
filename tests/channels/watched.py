"""Waiting for changes of a chat service that a test runs on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watched:
    """A service that notifies ``changed`` of everything that happens."""

    changed: asyncio.Condition

    def happened(self) -> str:
        """Return what has happened so far, for the error of a test."""
        raise NotImplementedError

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds. Raises AssertionError after a long time."""
        try:
            async with asyncio.timeout(90), self.changed:
                await self.changed.wait_for(lambda: bool(condition()))
        except TimeoutError:
            raise AssertionError(self.happened()) from None
