"""Requests that cancel runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from runstead.runtime.runs.types import RunStatus, StopAction

from .body import WireModel
from .errors import Unprocessable
from .identifiers import RunIdField, ThreadIdField
from .remarks import remark

StopStatus: TypeAlias = Literal["pending", "running", "all"]

_WAITING: Final = (RunStatus.PENDING, RunStatus.STARTING)
_STATUSES: Final[dict[StopStatus, tuple[RunStatus, ...]]] = {
    "pending": _WAITING,
    "running": (RunStatus.RUNNING,),
    "all": (*_WAITING, RunStatus.RUNNING),
}


class RunsToStop(WireModel):
    """Runs to cancel: either runs of one thread, by their ids, or all of the caller's runs with a status."""

    thread_id: ThreadIdField | None = None
    run_ids: list[RunIdField] | None = Field(None, min_length=1, max_length=1_000)
    status: StopStatus | None = None

    def statuses(self) -> tuple[RunStatus, ...]:
        """Return the selected statuses; none if runs are named. Raises Unprocessable if the request mixes both forms,
        or has neither."""
        named = self.thread_id is not None and self.run_ids is not None
        if self.status is None and not named:
            raise Unprocessable("Say which runs to cancel: give a status, or both thread_id and run_ids")
        if self.status is None:
            return ()
        if self.thread_id is not None or self.run_ids is not None:
            raise Unprocessable("status chooses among all runs: leave out thread_id and run_ids, or the status")
        return _STATUSES[self.status]


RUNS_TO_STOP: Final[TypeAdapter[RunsToStop]] = TypeAdapter(RunsToStop)


def stop_action_of(action: str) -> StopAction:
    """Return the action of a cancel. Anything but a rollback interrupts, as on the reference server."""
    return "rollback" if action == "rollback" else "interrupt"


def remarks_on_stop(action: str) -> Mapping[str, str]:
    """Return the header for the response to a cancel with an unknown action; empty for a known action."""
    if action in ("interrupt", "rollback"):
        return {}
    return remark("action is neither interrupt nor rollback, so the run is interrupted")


NOT_FOUND: Final = "No runs found to cancel."
ALL_OVER: Final = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, and the runs haven't been "
    "deleted or completed."
)
