"""``runstead crons``: list, pause, resume and delete scheduled runs."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from typing import Annotated, Any

import typer

from .client_command import ServerClient, client_command
from .output import Output
from .times import ago, moment

app = typer.Typer(help="List, pause, resume and delete crons.", no_args_is_help=True, rich_markup_mode=None)


CronId = Annotated[str, typer.Argument(help="Id of the cron, or the first characters of it.")]


@app.command("ls")
@client_command
def crons_ls(
    server: ServerClient,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of results.")] = 20,
) -> None:
    """List crons, the next due one first."""

    async def work(client: Any) -> list[Any]:
        return list(await client.crons.search(sort_by="next_run_date", sort_order="asc", limit=limit))

    crons = server.call(work)
    for cron in crons:
        server.output.line("cron", **{name: value for name, value in cron.items() if name != "payload"})
    if not server.output.as_json:
        _show_table(crons, server.output)


@app.command("pause")
@client_command
def crons_pause(server: ServerClient, cron_id: CronId) -> None:
    """Pause a cron."""
    _switch(server, cron_id, enabled=False)


@app.command("resume")
@client_command
def crons_resume(server: ServerClient, cron_id: CronId) -> None:
    """Resume a paused cron, from its next due time on."""
    _switch(server, cron_id, enabled=True)


@app.command("rm")
@client_command
def crons_rm(server: ServerClient, cron_id: CronId) -> None:
    """Delete a cron. Its runs stay."""
    from .references import find_cron

    async def work(client: Any) -> str:
        found = await find_cron(client, cron_id)
        await client.crons.delete(found)
        return found

    found = server.call(work)
    server.output.line("deleted", cron_id=found)
    server.output.say(f"Cron {found} is deleted; its runs stay.")


def _switch(server: ServerClient, cron_id: str, *, enabled: bool) -> None:
    from .references import find_cron

    async def work(client: Any) -> Any:
        return await client.crons.update(await find_cron(client, cron_id), enabled=enabled)

    cron = server.call(work)
    due = cron["next_run_date"]
    server.output.line("changed", cron_id=cron["cron_id"], enabled=cron["enabled"], next_run_date=due)
    server.output.say(f"Cron {cron['cron_id']} is due at {moment(due)}." if enabled else "It is paused.")


def _show_table(crons: list[Any], output: Output) -> None:
    crons_shown = output.short_ids([cron["cron_id"] for cron in crons])
    threads = output.short_ids([cron["thread_id"] for cron in crons if cron["thread_id"]])
    rows = [
        (
            crons_shown[cron["cron_id"]],
            cron["schedule"],
            cron["timezone"] or "UTC",
            ago(cron["next_run_date"]) if cron["enabled"] else "paused",
            threads[cron["thread_id"]] if cron["thread_id"] else "new ones",
            cron.get("last_error") or cron.get("last_run_id") or "",
        )
        for cron in crons
    ]
    output.table(("cron", "schedule", "time zone", "next", "thread", "last"), rows, empty="no crons")
