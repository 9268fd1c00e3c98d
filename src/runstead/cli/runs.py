"""``run``, ``watch`` and ``runs``: commands that use a server's runs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .connection import connect, find_thread, server_url
from .output import USAGE, CommandError, Output
from .session import RunSession

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
    ) -> RunRequest:
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
    place = server_url(url, settings_file)
    params: dict[str, Any] = {"limit": limit} | ({"status": status} if status else {})
    params |= {"dead_letters": "true"} if dead else {}

    async def command() -> list[dict[str, Any]]:
        async with connect(place) as client:
            path = f"/threads/{thread_id}/runs" if thread_id else "/runs"
            found: list[dict[str, Any]] = await client.http.get(path, params=params)
            return found

    runs = _complete(command())
    for run in runs:
        output.line("run", **{name: value for name, value in run.items() if name != "kwargs"})
    if not output.as_json:
        _show_table(runs, output)


def retry_run(run_id: str, output: Output, *, url: str | None, settings_file: Path | None) -> None:
    """Retry a dead letter."""
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
    place = server_url(url, settings_file)

    async def command() -> None:
        async with connect(place) as client:
            thread_id = await find_thread(client, run_id)
            await client.runs.cancel(thread_id, run_id, wait=True)
            run = await client.runs.get(thread_id, run_id)
            output.line("cancelled", run_id=run_id, thread_id=thread_id, status=run["status"])
            output.say(f"Run {run_id} is {run['status']}.")

    _complete(command())


def _show_table(runs: list[dict[str, Any]], output: Output) -> None:
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


def _json(option: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{option} is not JSON: {error}", exit_code=USAGE) from error


def _complete(command: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(command)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
