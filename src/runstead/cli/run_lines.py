"""One line in the server's terminal for each run that ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from queue import Full, Queue
from typing import TYPE_CHECKING, Final

from runstead.resources.usage import cost_of
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType

from .costs import cost_text
from .output import Output
from .times import duration

if TYPE_CHECKING:
    from runstead.gateway.services import Services

_ENDS: Final = (
    RunLifecycleEventType.RUN_COMPLETED,
    RunLifecycleEventType.RUN_FAILED,
    RunLifecycleEventType.RUN_CANCELLED,
)
_MARKS: Final = {"success": ("+", "green"), "waits": ("?", "magenta"), "interrupted": ("-", "yellow")}
_FAILED: Final = ("x", "red")
_WORDS: Final = 60
_LINES: Final = 1_000
"""Lines that wait for a slow terminal; more are dropped."""


class RunLines:
    """Observer that prints status, graph, duration, model calls, tokens, cost, and the first words or the error.

    A run whose thread waits for a human has the mark ``?``. A thread of its own prints, so that a terminal that is
    stopped, or a pipe that is not read, does not stop the server.
    """

    def __init__(self, output: Output, services: Callable[[], Services]) -> None:
        self._output, self._services = output, services

    @cached_property
    def _lines(self) -> Queue[Callable[[], None]]:
        lines: Queue[Callable[[], None]] = Queue(_LINES)
        threading.Thread(target=_print_all, args=(lines,), name="run-lines", daemon=True).start()
        return lines

    def drain(self) -> None:
        """Wait until all lines are printed."""
        self._lines.join()

    async def on_event(self, event: RunLifecycleEvent) -> None:
        """Print the line of a run that has ended; see RunObserver."""
        if event.event_type not in _ENDS:
            return
        run = event.run or await self._services().runs.get_run(event.run_id)
        waits = run.status == "success" and event.thread_status == "interrupted"
        status = "waits" if waits else str(run.status.value)
        seconds = ((run.ended_at or event.occurred_at) - (run.started_at or run.created_at)).total_seconds()
        done = run.completion
        calls, tokens = (done.llm_call_count, done.total_tokens) if done else (0, 0)
        error = f"{run.failure.error}: {run.failure.message}" if run.failure else None
        words = " ".join((error or (done.first_human_message if done else None) or "").split())[:_WORDS]
        mark, style = _MARKS.get(status, _FAILED)
        models, prices = (done.models, self._services().prices) if done and calls else ((), None)

        def show() -> None:
            # Priced in this thread: the first price loads the list.
            cost = cost_of(models, prices) if prices else None
            usd = float(cost.usd) if cost and cost.usd is not None else None
            unpriced = list(cost.unpriced) if cost else []
            counts = f"  {calls} calls  {tokens} tokens  {cost_text(usd, unpriced)}" if calls else ""
            self._output.line(
                "run_ended",
                run_id=run.run_id,
                thread_id=run.thread_id,
                graph=run.spec.graph_id,
                status=status,
                seconds=round(seconds, 3),
                model_calls=calls,
                tokens=tokens,
                usd=usd,
                unpriced=unpriced,
                error=error,
            )
            self._output.say(f"{mark} {run.spec.graph_id}  {status}  {duration(seconds)}{counts}  {words}", style=style)

        with suppress(Full):
            self._lines.put_nowait(show)


def _print_all(lines: Queue[Callable[[], None]]) -> None:
    while True:
        show = lines.get()
        # A terminal that is gone must not end the thread: the queue would fill up.
        with suppress(OSError, ValueError):
            show()
        lines.task_done()
