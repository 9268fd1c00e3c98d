"""``run`` and ``watch``: follow one run live. ``runs``: list, retry and cancel runs."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from typing import Annotated

import typer

from ..output import Output
from .options import Json, SettingsFile, Thread, Url

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
    from ..runs import RunRequest, start_run

    output = Output(as_json=json)
    with output.telling_errors():
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
    from ..runs import watch_run

    output = Output(as_json=json)
    with output.telling_errors():
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
    from ..runs import list_runs

    output = Output(as_json=json)
    with output.telling_errors():
        list_runs(output, thread_id=thread, status=status, dead=dead, limit=limit, url=url, settings_file=settings)


@app.command("retry")
def runs_retry(
    run_id: Annotated[str, typer.Argument(help="Id of a dead letter.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Give a dead letter new attempts."""
    from ..runs import retry_run

    output = Output(as_json=json)
    with output.telling_errors():
        retry_run(run_id, output, url=url, settings_file=settings)


@app.command("cancel")
def runs_cancel(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Cancel a run; its results so far are kept."""
    from ..runs import cancel_run

    output = Output(as_json=json)
    with output.telling_errors():
        cancel_run(run_id, output, url=url, settings_file=settings)
