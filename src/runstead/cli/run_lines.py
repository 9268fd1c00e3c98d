"""One line in the server's terminal for each run that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType

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


class RunLines:
    """Observer that prints status, graph, duration, model calls, tokens, and the first words or the error.

    A run whose thread waits for a human has the mark ``?``.
    """

    def __init__(self, output: Output, services: Callable[[], Services]) -> None:
        self._output, self._services = output, services

    async def on_event(self, event: RunLifecycleEvent) -> None:
        """Print the line of a run that has ended; see RunObserver."""
        if event.event_type not in _ENDS:
            return
        services = self._services()
        run = await services.runs.get_run(event.run_id)
        thread = await services.threads.get(event.thread_id)
        waits = thread is not None and thread.status == "interrupted" and run.status == "success"
        status = "waits" if waits else str(run.status.value)
        seconds = ((run.ended_at or event.occurred_at) - (run.started_at or run.created_at)).total_seconds()
        done = run.completion
        calls, tokens = (done.llm_call_count, done.total_tokens) if done else (0, 0)
        error = f"{run.failure.error}: {run.failure.message}" if run.failure else None
        words = " ".join((error or (done.first_human_message if done else None) or "").split())[:_WORDS]
        self._output.line(
            "run_ended",
            run_id=run.run_id,
            thread_id=run.thread_id,
            graph=run.spec.graph_id,
            status=status,
            seconds=round(seconds, 3),
            model_calls=calls,
            tokens=tokens,
            error=error,
        )
        mark, style = _MARKS.get(status, _FAILED)
        counts = f"  {calls} calls  {tokens} tokens" if calls else ""
        self._output.say(f"{mark} {run.spec.graph_id}  {status}  {duration(seconds)}{counts}  {words}", style=style)
