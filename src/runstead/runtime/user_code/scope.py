"""Unit of user code: its purpose, and its synchronous calls that still occupy a thread.

The scope is stored in a context variable, so that a thread pool and a watchdog know for which run a call was made,
although all runs share one loop and one pool.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class UserWork:
    """Purpose of a call of user code. ``kind`` is a noun such as "run", "state", "auth handler"."""

    kind: str = "user code"
    graph_id: str | None = None
    run_id: str | None = None
    thread_id: str | None = None

    def __str__(self) -> str:
        """Return the kind and the known ids, for log lines."""
        ids = [(field.name, getattr(self, field.name)) for field in fields(self)[1:]]
        return " ".join([self.kind, *(f"{name}={value}" for name, value in ids if value)])


class WorkScope:
    """Scope of ``work`` while it executes. ``server`` identifies the server that owns the code, among those of a
    process."""

    def __init__(self, work: UserWork, server: object | None = None) -> None:
        self.work, self.server = work, server
        self._outstanding: set[Future[object]] = set()

    def add(self, call: Future[Any]) -> None:
        """Count a synchronous call until it has ended. Callable from any thread."""
        self._outstanding.add(call)
        call.add_done_callback(self._outstanding.discard)

    async def threads_idle(self) -> None:
        """Wait until no synchronous call of this scope occupies a thread any more."""
        while outstanding := [asyncio.wrap_future(call) for call in list(self._outstanding)]:
            await asyncio.wait(outstanding)


CURRENT_SCOPE: ContextVar[WorkScope | None] = ContextVar("runstead_user_work", default=None)
"""Scope of the user code that runs in this context; None outside user code."""


def current_server() -> object | None:
    """Return the UserLoop that identifies the server of the code in this context; None outside user code."""
    scope = CURRENT_SCOPE.get()
    return None if scope is None else scope.server
