"""``run``, ``watch`` and ``runs``: commands that use a server's runs."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
import json
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from runstead.runtime.json_types import JsonObject

from .options import Json, SettingsFile, Thread, Url
from .output import USAGE, CommandError, Output

app = typer.Typer(help="List, retry and cancel runs.", no_args_is_help=True, rich_markup_mode=None)


def run(
    assistant: Annotated[str, typer.Argument(help="Assistant or graph to run.")],
    text: Annotated[str | None, typer.Argument(help="Text of the user's message.")] = None,
    input: Annotated[str | None, typer.Option("--input", help="The graph's input as JSON, instead of a text.")] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Answer (JSON) to the pending interrupt of the thread.")
    ] = None,
    thread: Thread = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve every question.")] = False,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Create a run and watch it live.

    Answer y, n or e when it asks for approval. Ctrl-C detaches, and the run continues; a second Ctrl-C cancels it.
    """

    output = Output(as_json=json)
    with output.handle_errors():
        request = RunRequest.parse(assistant, text=text, input=input, resume=resume, thread_id=thread, approve=yes)
        raise typer.Exit(start_run(request, output, url=url, settings_file=settings))


def watch(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    thread: Thread = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve every question.")] = False,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Watch an existing run, from its beginning."""

    output = Output(as_json=json)
    with output.handle_errors():
        raise typer.Exit(watch_run(run_id, output, thread_id=thread, approve=yes, url=url, settings_file=settings))


@app.command("ls")
def runs_ls(
    thread: Thread = None,
    status: Annotated[str | None, typer.Option("--status", help="Only runs of this status.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters: runs without attempts left.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """List runs, the newest first."""

    output = Output(as_json=json)
    with output.handle_errors():
        list_runs(output, thread_id=thread, status=status, dead=dead, limit=limit, url=url, settings_file=settings)


@app.command("retry")
def runs_retry(
    run_id: Annotated[str, typer.Argument(help="Id of a dead letter.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Give a dead letter new attempts."""

    output = Output(as_json=json)
    with output.handle_errors():
        retry_run(run_id, output, url=url, settings_file=settings)


@app.command("cancel")
def runs_cancel(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Cancel a run; its results so far are kept."""

    output = Output(as_json=json)
    with output.handle_errors():
        cancel_run(run_id, output, url=url, settings_file=settings)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Options of ``runstead run``."""

    assistant: str
    input: Any = None
    resume: Any = None
    resumes: bool = False
    thread_id: str | None = None
    approve: bool = False

    @classmethod
    def parse(
        cls,
        assistant: str,
        *,
        text: str | None,
        input: str | None,
        resume: str | None,
        thread_id: str | None,
        approve: bool,
    ) -> "RunRequest":
        """Parse the options: one of text, input and resume, or none to continue from the thread's state. Raises
        CommandError."""
        if sum(given is not None for given in (text, input, resume)) > 1:
            raise CommandError("give a text, or --input, or --resume: one of them", exit_code=USAGE)
        if text is None and input is None and thread_id is None:
            problem = "give a text, or --input JSON, or name a --thread to continue"
            raise CommandError(problem, exit_code=USAGE)
        said = {"messages": [{"role": "user", "content": text}]} if text is not None else _json("--input", input)
        return cls(assistant, said, _json("--resume", resume), resume is not None, thread_id, approve)


def start_run(request: RunRequest, output: Output, *, url: str | None, settings_file: Path | None) -> int:
    """Create a run and follow it to its end, including approvals. Return the exit code."""
    from .connection import connect, server_url
    from .session import RunSession

    place = server_url(url, settings_file)

    async def command() -> int:
        async with connect(place) as client:
            thread_id = request.thread_id or str((await client.threads.create())["thread_id"])
            session = RunSession(client, output, thread_id, url=url, approve=request.approve)
            return await session.create(
                request.assistant, request.input, {"resume": request.resume} if request.resumes else None
            )

    return _complete(command())


def watch_run(
    run_id: str, output: Output, *, thread_id: str | None, approve: bool, url: str | None, settings_file: Path | None
) -> int:
    """Follow a run from its beginning. Return the exit code."""
    from .connection import connect, find_thread, server_url
    from .session import RunSession

    place = server_url(url, settings_file)

    async def command() -> int:
        async with connect(place) as client:
            where = thread_id or await find_thread(client, run_id)
            return await RunSession(client, output, where, url=url, approve=approve).join(run_id)

    return _complete(command())


def list_runs(
    output: Output,
    *,
    thread_id: str | None,
    status: str | None,
    dead: bool,
    limit: int,
    url: str | None,
    settings_file: Path | None,
) -> None:
    """Print runs as a table, or one per line."""
    from .connection import connect, server_url

    place = server_url(url, settings_file)
    params: JsonObject = {"limit": limit} | ({"status": status} if status else {})
    params |= {"dead_letters": "true"} if dead else {}

    async def command() -> list[JsonObject]:
        async with connect(place) as client:
            path = f"/threads/{thread_id}/runs" if thread_id else "/runs"
            found: list[JsonObject] = await client.http.get(path, params=params)
            return found

    runs = _complete(command())
    for run in runs:
        output.line("run", **{name: value for name, value in run.items() if name != "kwargs"})
    if not output.as_json:
        _show_table(runs, output)


def retry_run(run_id: str, output: Output, *, url: str | None, settings_file: Path | None) -> None:
    """Retry a dead letter."""
    from .connection import connect, find_thread, server_url

    place = server_url(url, settings_file)

    async def command() -> None:
        async with connect(place) as client:
            thread_id = await find_thread(client, run_id)
            run = await client.http.post(f"/threads/{thread_id}/runs/{run_id}/retry", json=None)
            output.line("retried", run_id=run_id, thread_id=thread_id, status=run["status"])
            output.say(f"Run {run_id} is pending again. Watch it: runstead watch {run_id}")

    _complete(command())


def cancel_run(run_id: str, output: Output, *, url: str | None, settings_file: Path | None) -> None:
    """Cancel a run and wait until it has stopped."""
    from .connection import connect, find_thread, server_url

    place = server_url(url, settings_file)

    async def command() -> None:
        async with connect(place) as client:
            thread_id = await find_thread(client, run_id)
            await client.runs.cancel(thread_id, run_id, wait=True)
            run = await client.runs.get(thread_id, run_id)
            output.line("cancelled", run_id=run_id, thread_id=thread_id, status=run["status"])
            output.say(f"Run {run_id} is {run['status']}.")

    _complete(command())


def _show_table(runs: list[JsonObject], output: Output) -> None:
    from rich.table import Table

    wide = output.console.width >= 140
    table = Table(box=None, pad_edge=False)
    for title in ("run", *(("thread",) if wide else ()), "graph", "status", "attempt", "created", "failure"):
        table.add_column(title, no_wrap=True)
    for run in runs:
        failure = run.get("failure") or {}
        table.add_row(
            run["run_id"],
            *((run["thread_id"],) if wide else ()),
            str((run.get("metadata") or {}).get("graph_id") or run["assistant_id"]),
            run["status"] + (" (dead letter)" if run.get("dead_letter") else ""),
            str(run.get("attempt", "")),
            str(run["created_at"])[5:16].replace("T", " "),
            f"{failure['error']}: {failure['message']}"[:60] if failure else "",
        )
    output.console.print(table if runs else "no runs")


def _json(option: str, text: str | None) -> object:
    if text is None:
        return None
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{option} is not JSON: {error}", exit_code=USAGE) from error


def _complete(command: Coroutine[object, object, T]) -> T:
    import asyncio

    try:
        return asyncio.run(command)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
