"""``runstead runs``: list, show, cancel, retry and fork runs."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import Annotated, Any

import typer

from runstead.runtime.json_types import JsonMapping, JsonObject

from .client_command import ServerClient, client_command
from .options import Thread
from .output import USAGE, CommandError, Output
from .run_commands import RunRef, Yes, message_input, parse_json

app = typer.Typer(help="List, show, cancel, retry and fork runs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls")
@client_command
def runs_ls(
    server: ServerClient,
    thread: Thread = None,
    status: Annotated[str | None, typer.Option("--status", help="Only runs of this status.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters: runs without attempts left.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
) -> None:
    """List runs, the newest first."""
    from .references import find_thread

    params: JsonObject = {"limit": limit, "cost": "true"} | ({"status": status} if status else {})
    params |= {"dead_letters": "true"} if dead else {}

    async def work(client: Any) -> list[JsonObject]:
        path = f"/threads/{await find_thread(client, thread)}/runs" if thread else "/runs"
        found: list[JsonObject] = await client.http.get(path, params=params)
        return found

    runs = server.call(work)
    for run in runs:
        server.output.line("run", **_without_request(run))
    if not server.output.as_json:
        show_runs(runs, server.output)


@app.command("show")
@client_command
def runs_show(server: ServerClient, run_id: RunRef) -> None:
    """Show a run: its times, tokens, input, output, and failure."""
    from .references import find_run
    from .run_view import show_run

    async def work(client: Any) -> tuple[Any, Any]:
        thread_id, found = await find_run(client, run_id)
        run = await client.http.get(f"/threads/{thread_id}/runs/{found}", params={"cost": "true"})
        is_over = run["status"] not in ("pending", "running")
        return run, await client.runs.join(thread_id, found) if is_over else None

    run, result = server.call(work)
    server.output.line("run", **run, values=result)
    show_run(run, result, server)


@app.command("cancel")
@client_command
def runs_cancel(server: ServerClient, run_id: RunRef) -> None:
    """Cancel a run; its results so far are kept."""
    from .references import find_run

    async def work(client: Any) -> Any:
        thread_id, found = await find_run(client, run_id)
        await client.runs.cancel(thread_id, found, wait=True)
        return await client.runs.get(thread_id, found)

    run = server.call(work)
    server.output.line("cancelled", run_id=run["run_id"], thread_id=run["thread_id"], status=run["status"])
    server.output.say(f"Run {run['run_id']} is {run['status']}.")


@app.command("retry")
@client_command
def runs_retry(
    server: ServerClient,
    run_id: Annotated[str, typer.Argument(help="Id of a dead letter, the first characters of it, or `last`.")],
) -> None:
    """Give a dead letter new attempts. Other runs are repeated with `runs fork`."""
    from .references import find_run

    async def work(client: Any) -> Any:
        thread_id, found = await find_run(client, run_id)
        return await client.http.post(f"/threads/{thread_id}/runs/{found}/retry", json=None)

    run = server.call(work)
    server.output.line("retried", run_id=run["run_id"], thread_id=run["thread_id"], status=run["status"])
    server.output.say(
        f"Run {run['run_id']} is pending again. Watch it: runstead watch {run['run_id']}{server.url_option}"
    )


@app.command("fork")
@client_command
def runs_fork(
    server: ServerClient,
    run_id: RunRef,
    text: Annotated[str | None, typer.Argument(help="Text of another message than the run's.")] = None,
    input: Annotated[str | None, typer.Option("--input", help="Another input than the run's, as JSON.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Update (JSON) of the state before the run, applied first.")
    ] = None,
    yes: Yes = False,
) -> int:
    """Repeat a run from the state before it, and watch the new run.

    The new run is a branch of the same thread, whose latest state it becomes; the old branch is kept in the history.
    """
    from .forking import fork_run

    if text is not None and input is not None:
        raise CommandError("give a text, or --input: one of them", exit_code=USAGE)
    changed = message_input(text) if text is not None else parse_json("--input", input)
    update = parse_json("--state", state)
    has_input = text is not None or input is not None

    async def work(client: Any) -> int:
        return await fork_run(client, server, run_id, input=changed, has_input=has_input, update=update, approve=yes)

    return server.call(work)


def show_runs(runs: list[JsonObject], output: Output) -> None:
    """Print runs as a table."""
    from .costs import cost_of_run
    from .times import ago, duration_of

    ids = output.short_ids([run["run_id"] for run in runs])
    rows = [
        (
            ids[run["run_id"]],
            str((run.get("metadata") or {}).get("graph_id") or run["assistant_id"])[:16],
            "dead letter" if run.get("dead_letter") else run["status"],
            duration_of(run),
            tokens_of(run),
            cost_of_run(run),
            ago(run["created_at"]),
            run.get("error") or (run.get("completion") or {}).get("first_human_message") or "",
        )
        for run in runs
    ]
    titles = ("run", "graph", "status", "time", "tokens", "cost", "created", "message or error")
    output.table(titles, rows, empty="no runs")


def tokens_of(run: JsonMapping) -> str:
    """Return the tokens that the models of a run reported; ``-`` if none did."""
    from .usage import short_number

    tokens = (run.get("completion") or {}).get("total_tokens")
    return short_number(tokens) if tokens else "-"


def _without_request(run: JsonObject) -> JsonObject:
    return {name: value for name, value in run.items() if name != "kwargs"}
