"""Repetition of a run from the checkpoint before it, as a new branch of its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runstead.runtime.json_types import JsonObject

from .client_command import ServerClient
from .output import CommandError
from .references import find_run
from .session import RunSession

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

_PAGE: Final = 100


async def fork_run(
    client: LangGraphClient,
    server: ServerClient,
    reference: str,
    *,
    input: object,
    has_input: bool,
    update: Any,
    approve: bool,
) -> int:
    """Create a run from the state before another one, and follow it. Return the exit code.

    ``input`` replaces the other run's if ``has_input``. ``update`` changes the state first.
    """
    thread_id, run_id = await find_run(client, reference)
    run: JsonObject = await client.http.get(f"/threads/{thread_id}/runs/{run_id}")
    if run["status"] in ("pending", "running"):
        raise CommandError(f"run {run_id} has not ended", f"wait for it, or end it: runstead runs cancel {run_id}")
    checkpoint_id = await _checkpoint_before(client, thread_id, run_id)
    kwargs = run.get("kwargs") or {}
    if checkpoint_id is None:
        # The run was the first of its thread: there is no state to branch from.
        thread_id = str((await client.threads.create(graph_id=_graph_id(run)))["thread_id"])
    if update is not None:
        place: JsonObject = {"checkpoint": {"checkpoint_id": checkpoint_id, "checkpoint_ns": ""}}
        made: Any = await client.threads.update_state(
            thread_id, update, **(place if checkpoint_id else {"as_node": "__start__"})
        )
        checkpoint_id = made["checkpoint"]["checkpoint_id"]
    server.output.line("forked", run_id=run_id, thread_id=thread_id, checkpoint_id=checkpoint_id)
    session = RunSession(client, server, thread_id, approve=approve)
    command = None if has_input else kwargs.get("command")
    return await session.create(
        run["assistant_id"], input if has_input else kwargs.get("input"), command, checkpoint_id=checkpoint_id
    )


def _graph_id(run: JsonObject) -> str | None:
    return (run.get("metadata") or {}).get("graph_id")


async def _checkpoint_before(client: LangGraphClient, thread_id: str, run_id: str) -> str | None:
    """Return the checkpoint that the run began from; None if the thread had none. Raises CommandError."""
    before, oldest = None, None
    while True:
        page: list[Any] = await client.threads.get_history(
            thread_id, limit=_PAGE, metadata={"run_id": run_id}, before=before
        )
        oldest = page[-1] if page else oldest
        if len(page) < _PAGE:
            break
        before = page[-1]["checkpoint"]
    if oldest is None:
        raise CommandError(
            f"run {run_id} has left no checkpoint in its thread", "start a new run instead: runstead run --thread"
        )
    parent = oldest.get("parent_checkpoint")
    return str(parent["checkpoint_id"]) if parent else None
