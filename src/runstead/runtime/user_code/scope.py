"""One unit of user code: what it is for, and which of its synchronous calls still occupy a thread.

Carried by a context variable, so that a thread pool and a watchdog know for which run a call was made, although all
runs share one loop and one pool.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class UserWork:
    """What user code is called for: ``kind`` is a noun such as "run", "state", "auth handler"."""

    kind: str = "user code"
    graph_id: str | None = None
    run_id: str | None = None
    thread_id: str | None = None

    def __str__(self) -> str:
        """The kind, and the ids that are known, for log lines."""
        ids = [(field.name, getattr(self, field.name)) for field in fields(self)[1:]]
        return " ".join([self.kind, *(f"{name}={value}" for name, value in ids if value)])


class WorkScope:
    """``work`` while it is being done. ``server`` identifies the server whose code it is, among those of a process."""

    def __init__(self, work: UserWork, server: object | None = None) -> None:
        self.work, self.server = work, server
        self._outstanding: set[Future[Any]] = set()

    def add(self, call: Future[Any]) -> None:
        """Count a synchronous call until it has ended. For any thread."""
        self._outstanding.add(call)
        call.add_done_callback(self._outstanding.discard)

    async def threads_idle(self) -> None:
        """Return when no synchronous call made in this scope occupies a thread any more."""
        while outstanding := [asyncio.wrap_future(call) for call in list(self._outstanding)]:
            await asyncio.wait(outstanding)


CURRENT_SCOPE: ContextVar[WorkScope | None] = ContextVar("runstead_user_work", default=None)
"""The scope of the user code that runs in this context; None outside of user code."""


def current_server() -> object | None:
    """Return what identifies the server whose code runs in this context: its UserLoop; None outside of user code."""
    scope = CURRENT_SCOPE.get()
    return None if scope is None else scope.server
