"""Handling of a permanently blocked user-code loop: its runs are handed back, and the process is replaced.

The thread of such a loop cannot be ended, and asyncio objects that modules created on it work on no other loop. A
Runstead process therefore restarts on the same socket. A process that belongs to another application gets a new loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context

from langchain_core.runnables.config import var_child_runnable_config

from runstead.gateway.custom_app import CustomApp
from runstead.graphs.modules import is_user_code
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.user_code.scope import WorkScope
from runstead.runtime.user_code.thread_loop import ThreadLoop
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.runtime.user_code.watchdog import LoopWatchdog, WatchdogOptions
from runstead.settings import Settings

from .shutdown import Shutdown

_log = logging.getLogger(__name__)


class LoopFailover:
    """Handler of lost loops, on the server's loop."""

    def __init__(
        self,
        user_loop: UserLoop,
        runs: RunsFacade,
        closing: Shutdown,
        custom: CustomApp | None,
        replace_process: Callable[[], None] | None,
    ) -> None:
        self._user_loop, self._runs, self._closing, self._custom = user_loop, runs, closing, custom
        self._replace_process = replace_process
        self._home = asyncio.get_running_loop()
        self._starting: asyncio.Task[None] | None = None

    def watchdog(self, settings: Settings) -> LoopWatchdog:
        """Return a watchdog that reports to this handler."""
        options = WatchdogOptions(is_user_code, node_in, settings.blocked_loop_limit_seconds)
        return LoopWatchdog(self._user_loop, self._lost, options)

    def _lost(self, loop: ThreadLoop, culprit: WorkScope | None) -> None:
        """Handle a report, in the watchdog's thread."""
        self._home.call_soon_threadsafe(self._give_up, loop, culprit)

    def _give_up(self, loop: ThreadLoop, culprit: WorkScope | None) -> None:
        by = culprit.work if culprit else "a callback"
        if self._replace_process is not None:
            _log.critical(
                "the event loop of user code is blocked by %s: handing its runs back and restarting the process",
                by,
            )
            # First of all: runs that are handed back must not begin here again.
            self._runs.stop_claiming()
            self._closing.leave()
            self._user_loop.replace(loop, culprit)
            self._replace_process()
            return
        _log.critical(
            "the event loop of user code is blocked by %s: its runs are handed back and continue on a new loop; "
            "one thread is lost, and so are asyncio objects that modules created: restart this process soon",
            by,
        )
        self._user_loop.replace(loop, culprit)
        if self._custom is not None:
            self._starting = asyncio.create_task(self._start_again(self._custom))

    async def _start_again(self, custom: CustomApp) -> None:
        try:
            await custom.start_again()
        except Exception:
            _log.exception("could not start http.app on the new loop")


def node_in(context: Context) -> str | None:
    """Return the node's name; None outside nodes. LangGraph stores the node's config in the context of its task."""
    config = context.get(var_child_runnable_config)
    name = ((config or {}).get("metadata") or {}).get("langgraph_node")
    return name if isinstance(name, str) else None
