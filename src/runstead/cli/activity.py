"""Activity of a server: runs that execute, runs that wait for their turn, and threads that wait for a human."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from runstead.runtime.json_types import JsonMapping, JsonObject

from .costs import cost_of_run
from .output import Output
from .run_view import questions_of
from .runs import tokens_of
from .times import ago, duration_of

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

TITLES: Final = ("run", "graph", "status", "time", "step", "tokens", "cost", "now or waiting for")
_LONGEST_GRAPH: Final = 12
_SHOWN_ID: Final = 13


@dataclass(frozen=True, slots=True)
class Activity:
    """One line: a run, with the step of its graph, and its next nodes or the reason why it waits."""

    run: JsonMapping
    status: str
    step: int | None
    reason: str

    def to_json(self) -> JsonObject:
        """Return it as JSON values, without what the run was created from."""
        return {**asdict(self), "run": {name: value for name, value in self.run.items() if name != "kwargs"}}

    def row(self, run_id: str) -> tuple[str, ...]:
        """Return its cells of a table, see TITLES."""
        run = self.run
        graph = str((run.get("metadata") or {}).get("graph_id") or run["assistant_id"])
        return (
            run_id,
            graph[:_LONGEST_GRAPH],
            self.status,
            duration_of(run) if self.status == "running" else ago(run.get("ended_at") or run["created_at"]),
            "-" if self.step is None else str(self.step),
            tokens_of(run),
            cost_of_run(run),
            self.reason,
        )


async def current_activity(client: LangGraphClient, limit: int) -> list[Activity]:
    """Return up to ``limit`` runs of each kind: those that execute, those that wait, and those that ask a human."""
    running, pending, asking = await asyncio.gather(
        _runs(client, "/runs", status="running", limit=limit),
        _runs(client, "/runs", status="pending", limit=limit),
        client.threads.search(
            status="interrupted", limit=limit, sort_by="updated_at", select=["thread_id", "interrupts"]
        ),
    )
    found = await asyncio.gather(
        *(_executing(client, run) for run in running), *(_waiting(client, run) for run in pending)
    )
    for thread in asking:
        latest = await _runs(client, f"/threads/{thread['thread_id']}/runs", limit=1)
        questions = questions_of(thread.get("interrupts"))
        found += [Activity(run, "waits", None, "; ".join(questions)) for run in latest if questions]
    return found


def show_activity(found: Sequence[Activity], output: Output) -> list[str]:
    """Return the lines of a table."""
    ids = output.short_ids([one.run["run_id"] for one in found])
    return output.lines(TITLES, [one.row(ids[one.run["run_id"]]) for one in found], empty="nothing runs or waits")


async def _runs(client: LangGraphClient, path: str, *, limit: int, status: str | None = None) -> list[JsonObject]:
    params: JsonObject = {"limit": limit, "cost": "true"} | ({"status": status} if status else {})
    found: list[JsonObject] = await client.http.get(path, params=params)
    return found


async def _executing(client: LangGraphClient, run: JsonObject) -> Activity:
    params = {"select": ["metadata", "next"]}
    state: JsonObject = await client.http.get(f"/threads/{run['thread_id']}/state", params=params)
    step = (state.get("metadata") or {}).get("step")
    return Activity(run, "running", step if isinstance(step, int) else None, ", ".join(state.get("next") or ()))


async def _waiting(client: LangGraphClient, run: JsonObject) -> Activity:
    found: JsonObject = await client.http.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/waiting")
    return Activity(run, "pending", None, "; ".join(_reason(one, found) for one in found["reasons"]))


def _reason(reason: JsonMapping, found: JsonMapping) -> str:
    match reason["kind"]:
        case "delayed":
            return f"its time, {ago(reason['until'])}"
        case "thread":
            return f"run {reason['run_id'][:_SHOWN_ID]} of its thread"
        case "worker":
            return f"the end of the lease of a silent worker, {ago(reason['until'])}"
        case _:
            return f"a free slot, {found['slots_in_use']} of {found['slots']} in use"
