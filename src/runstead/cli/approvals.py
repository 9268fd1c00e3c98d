"""``runstead approvals``: list and answer the questions for which threads wait."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import Annotated, Any

import typer

from .client_command import ServerClient, client_command
from .output import USAGE, CommandError
from .run_commands import Yes, parse_json
from .threads import ThreadRef

app = typer.Typer(help="List and answer what waits for a human.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls")
@client_command
def approvals_ls(
    server: ServerClient,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of threads.")] = 20,
) -> None:
    """List the threads that wait for an answer, the longest waiting first."""
    from .run_view import questions_of
    from .times import ago

    async def work(client: Any) -> list[Any]:
        found = await client.threads.search(
            status="interrupted",
            limit=limit,
            sort_by="updated_at",
            sort_order="asc",
            select=["thread_id", "metadata", "updated_at", "interrupts"],
        )
        return [thread for thread in found if thread.get("interrupts")]

    output, threads = server.output, server.call(work)
    for thread in threads:
        output.line("approval", **thread)
    if output.as_json:
        return
    ids = output.short_ids([thread["thread_id"] for thread in threads])
    rows = [
        (
            ids[thread["thread_id"]],
            str((thread.get("metadata") or {}).get("graph_id") or "-")[:16],
            ago(thread["updated_at"]),
            question,
        )
        for thread in threads
        for question in questions_of(thread["interrupts"])
    ]
    output.table(("thread", "graph", "asked", "question"), rows, empty="nothing waits for an answer")
    if rows:
        output.say(f"answer one: runstead approvals answer THREAD{server.url_option}", style="dim")


@app.command("answer")
@client_command
def approvals_answer(
    server: ServerClient,
    thread_id: ThreadRef,
    answer: Annotated[
        str | None, typer.Argument(metavar="[JSON]", help="The answer; without it, you are asked.")
    ] = None,
    yes: Yes = False,
) -> int:
    """Answer what a thread waits for, and watch the run that continues."""
    from .references import LAST, find_thread
    from .session import RunSession

    if answer is not None and yes:
        raise CommandError("give an answer, or --yes: one of them", exit_code=USAGE)
    value = parse_json("the answer", answer)

    async def work(client: Any) -> int:
        if thread_id == LAST:
            waiting = await client.threads.search(status="interrupted", limit=1, sort_by="updated_at")
            if not waiting:
                raise CommandError("no thread waits for an answer")
            found = str(waiting[0]["thread_id"])
        else:
            found = await find_thread(client, thread_id)
        thread = await client.threads.get(found)
        if not thread.get("interrupts"):
            raise CommandError(f"thread {found} waits for no answer", "see `runstead approvals ls`")
        (run,) = await client.runs.list(found, limit=1)
        session = RunSession(client, server, found, approve=yes)
        if answer is not None:
            return await session.create(run["assistant_id"], None, {"resume": value})
        return await session.answer(run["assistant_id"], thread["interrupts"])

    return server.call(work)
