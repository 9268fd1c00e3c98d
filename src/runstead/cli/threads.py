"""``runstead threads``: list, show and delete threads."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
import sys
from typing import Annotated, Any

import typer

from runstead.runtime.json_types import JsonObject

from .client_command import ServerClient, client_command
from .output import USAGE, CommandError

app = typer.Typer(help="List, show and delete threads.", no_args_is_help=True, rich_markup_mode=None)

ThreadRef = Annotated[str, typer.Argument(help="Id of the thread, the first characters of it, or `last`.")]


@app.command("ls")
@client_command
def threads_ls(
    server: ServerClient,
    status: Annotated[
        str | None, typer.Option("--status", help="Only threads of this status: idle, busy, interrupted or error.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
) -> None:
    """List threads, the latest first."""
    from .run_view import first_words
    from .times import ago

    given: JsonObject = {"status": status} if status else {}

    async def work(client: Any) -> list[Any]:
        return list(await client.threads.search(limit=limit, sort_by="updated_at", sort_order="desc", **given))

    output, threads = server.output, server.call(work)
    for thread in threads:
        output.line("thread", **{name: value for name, value in thread.items() if name != "values"})
    if output.as_json:
        return
    ids = output.short_ids([thread["thread_id"] for thread in threads])
    rows = [
        (
            ids[thread["thread_id"]],
            str((thread.get("metadata") or {}).get("graph_id") or "-")[:16],
            thread["status"],
            ago(thread["updated_at"]),
            first_words(thread.get("values")),
        )
        for thread in threads
    ]
    output.table(("thread", "graph", "status", "updated", "first message"), rows, empty="no threads")


@app.command("show")
@client_command
def threads_show(server: ServerClient, thread_id: ThreadRef) -> None:
    """Show a thread: its state, its pending questions, and its latest runs."""
    from .references import find_thread
    from .run_view import show_thread
    from .runs import show_runs

    async def work(client: Any) -> tuple[Any, Any, list[Any]]:
        found = await find_thread(client, thread_id)
        thread = await client.threads.get(found)
        has_state = bool((thread.get("metadata") or {}).get("graph_id"))
        state = await client.threads.get_state(found) if has_state else {}
        return thread, state, await client.http.get(f"/threads/{found}/runs", params={"limit": 10, "cost": "true"})

    output = server.output
    thread, state, runs = server.call(work)
    output.line("thread", **thread, next=state.get("next"), runs=[run["run_id"] for run in runs])
    if not output.as_json:
        show_thread(thread, state, output)
        output.say()
        show_runs(runs, output)


@app.command("rm")
@client_command
def threads_rm(
    server: ServerClient,
    thread_id: ThreadRef,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete a thread with its runs and its history."""
    from .references import find_thread

    async def find(client: Any) -> str:
        found = await find_thread(client, thread_id)
        await client.threads.get(found)
        return found

    output, found = server.output, server.call(find)
    if not yes:
        if output.as_json or not sys.stdin.isatty():
            raise CommandError(f"thread {found} is deleted only after a question", "add --yes", exit_code=USAGE)
        if output.ask(f"Delete thread {found} with its runs and history? y/n: ").strip().lower()[:1] != "y":
            output.say("It is kept.")
            return

    async def delete(client: Any) -> None:
        await client.threads.delete(found)

    server.call(delete)
    output.line("deleted", thread_id=found)
    output.say(f"Thread {found} is deleted.")
